from __future__ import annotations

import pytest

from rock_nomad.device_plugin.devices import Device, DeviceGroup, Quantity
from rock_nomad.device_plugin.simulation import SimulatedHardware, parse_models
from rock_nomad.embedded.devices import DeviceRequest, device_rows, matching_groups
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare

GPUS = device_rows(SimulatedHardware(parse_models("NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1")).groups()) or []


def test_simulated_gpus_read_as_a_recorded_node() -> None:
    recorded = recordings.load("gpu-node")["NodeResources"]["Devices"]
    # Recorded without the count that the plugin has added since.
    assert compare(recorded, GPUS, ignore=frozenset({"healthy"})) == []
    assert [group["Attributes"]["memory"]["Int"] for group in GPUS] == [81559, 23028]
    assert [len(group["Instances"]) for group in GPUS] == [2, 1]


def test_a_sick_device_is_told_with_the_count_of_those_that_are_well() -> None:
    devices = (Device(id="a", ailment="XID 79"), Device(id="b", pci_bus_id="00000000:01:00.0"))
    (row,) = device_rows([DeviceGroup(model="A", devices=devices, attributes={"mig": Quantity(value=False)})]) or []
    assert [(one["ID"], one["Healthy"], one["HealthDescription"]) for one in row["Instances"]] == [
        ("a", False, "XID 79"), ("b", True, ""),
    ]  # fmt: skip
    assert row["Instances"][1]["Locality"] == {"PciBusID": "00000000:01:00.0"}
    assert row["Attributes"] == {
        "mig": {"Bool": False, "Float": None, "Int": None, "String": None, "Unit": ""},
        "healthy": {"Bool": None, "Float": None, "Int": 1, "String": None, "Unit": ""},
    }
    assert device_rows([]) is None


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
