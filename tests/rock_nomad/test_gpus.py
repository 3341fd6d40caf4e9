from __future__ import annotations

import copy
from typing import Any

import pytest

from rock_nomad.gpus import SickGpu, gpu_groups
from tests.rock_nomad.samples import recording

NODE: dict[str, Any] = recording("gpu-node")
A10G, H100 = "NVIDIA A10G", "NVIDIA H100 80GB HBM3"


def test_a_recorded_node_has_its_models_with_their_memory() -> None:
    found = {group.model: group for group in gpu_groups(NODE, "gpu")}
    assert {model: (group.count, group.memory_mb) for model, group in found.items()} == {
        H100: (2, 81559), A10G: (1, 23028),
    }  # fmt: skip
    assert all(group.node_name == NODE["Name"] and not group.sick for group in found.values())


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("gpu", {A10G, H100}),
        ("nvidia/gpu", {A10G, H100}),
        (f"nvidia/gpu/{A10G}", {A10G}),
        ("amd/gpu", set()),
        ("fpga", set()),
        (A10G, set()),
        ("", set()),
    ],
)
def test_a_requests_name_means_what_it_does_to_nomad(name: str, models: set[str]) -> None:
    assert {group.model for group in gpu_groups(NODE, name)} == models


def test_sick_ones_are_told_with_what_ails_them() -> None:
    node = copy.deepcopy(NODE)
    instance = node["NodeResources"]["Devices"][0]["Instances"][1]
    instance |= {"Healthy": False, "HealthDescription": "XID 79"}
    group = gpu_groups(node, "gpu")[0]
    assert group.count == 2
    assert group.sick == [SickGpu(id=instance["ID"], ailment="XID 79")]


@pytest.mark.parametrize(
    ("memory", "size_mb"), [({"Int": 80, "Unit": "GiB"}, 81920), ({"Int": 2**30, "Unit": ""}, 1024), (None, 0)]
)
def test_memory_is_counted_in_mebibytes(memory: dict[str, object] | None, size_mb: float) -> None:
    device = {"Vendor": "nvidia", "Type": "gpu", "Name": "A", "Attributes": {"memory": memory}, "Instances": None}
    (group,) = gpu_groups({"NodeResources": {"Devices": [device]}}, "gpu")
    assert (group.memory_mb, group.count) == (size_mb, 0)


@pytest.mark.parametrize("node", [{}, {"NodeResources": None}, {"NodeResources": {"Devices": None}}])
def test_a_node_that_tells_nothing_has_none(node: dict[str, object]) -> None:
    assert gpu_groups(node, "gpu") == []
