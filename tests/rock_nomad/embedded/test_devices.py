from __future__ import annotations

import uuid

import pytest

from rock_nomad.embedded.devices import DeviceRequest, matching_groups, simulate_gpus
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare

NODE_ID = str(uuid.UUID(int=7))
GPUS = simulate_gpus("NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1", NODE_ID)


def test_simulated_gpus_read_as_a_recorded_node() -> None:
    assert compare(recordings.load("gpu-node")["NodeResources"]["Devices"], GPUS) == []
    assert [group["Attributes"]["memory"]["Int"] for group in GPUS] == [81559, 23028]
    assert [len(group["Instances"]) for group in GPUS] == [2, 1]


def test_ids_differ_and_stay() -> None:
    ids = [one["ID"] for group in GPUS for one in group["Instances"]]
    assert len(set(ids)) == 3
    again = simulate_gpus("NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1", NODE_ID)
    assert ids == [one["ID"] for group in again for one in group["Instances"]]
    assert all(uuid.UUID(one.removeprefix("GPU-")) for one in ids)


def test_memory_can_be_given() -> None:
    assert simulate_gpus("Mine:1:1234", NODE_ID)[0]["Attributes"]["memory"]["Int"] == 1234
    assert simulate_gpus("", NODE_ID) == []


@pytest.mark.parametrize("text", ["H100", "H100:x", "H100:0", ":2", "H100:1:big"])
def test_what_cannot_be_read_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        simulate_gpus(text, NODE_ID)


@pytest.mark.parametrize(
    ("name", "constraints", "models"),
    [
        ("gpu", (), 2),
        ("nvidia/gpu", (), 2),
        ("nvidia/gpu/NVIDIA A10G", (), 1),
        ("nvidia/gpu/NVIDIA B200", (), 0),
        ("amd/gpu", (), 0),
        ("NVIDIA A10G", (), 0),
        ("gpu", (("${device.attr.memory}", ">=", "70 GiB"),), 1),
        ("gpu", (("${device.model}", "regexp", "H100|A10G"),), 2),
        ("gpu", (("${device.vendor}", "=", "nvidia"), ("${device.type}", "=", "gpu")), 2),
        ("gpu", (("${device.attr.nothing}", "=", "1"),), 0),
    ],
)
def test_a_request_names_and_constrains_its_group(
    name: str, constraints: tuple[tuple[str, str, str], ...], models: int
) -> None:
    assert len(matching_groups(GPUS, DeviceRequest(name, 1, constraints))) == models
