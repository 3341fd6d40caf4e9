from __future__ import annotations

import json
from pathlib import Path

import pytest

from rock_nomad.device_plugin.devices import GroupStatistics
from rock_nomad.device_plugin.simulation import Model, SimulatedHardware, parse_models

MODELS = parse_models("NVIDIA H100 80GB HBM3:2, NVIDIA A10G:1")


def test_models_are_read_with_the_memory_they_are_known_for() -> None:
    assert parse_models("NVIDIA H100 80GB HBM3:2, NVIDIA A10G:1") == [
        Model(name="NVIDIA H100 80GB HBM3", count=2, memory_mib=81559),
        Model(name="NVIDIA A10G", count=1, memory_mib=23028),
    ]
    assert parse_models("Mine:1:1234")[0].memory_mib == 1234
    assert parse_models("Mine:1")[0].memory_mib == 24576
    assert parse_models("") == []


@pytest.mark.parametrize("text", ["H100", "H100:x", "H100:0", ":2", "H100:1:big", "H100:-1"])
def test_what_cannot_be_read_is_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_models(text)


def test_cards_have_ids_and_places_of_their_own_that_stay() -> None:
    groups = SimulatedHardware(MODELS).groups()
    assert [group.model for group in groups] == ["NVIDIA H100 80GB HBM3", "NVIDIA A10G"]
    devices = [device for group in groups for device in group.devices]
    assert [device.id for device in devices] == ["GPU-simulated-0-0", "GPU-simulated-0-1", "GPU-simulated-1-0"]
    assert len({device.pci_bus_id for device in devices}) == 3
    assert groups == SimulatedHardware(MODELS).groups()


def test_the_state_file_makes_cards_sick_and_takes_them_away(tmp_path: Path) -> None:
    state = tmp_path / "state"
    hardware = SimulatedHardware(MODELS, state)
    assert [len(group.devices) for group in hardware.groups()] == [2, 1]
    state.write_text(json.dumps({"sick": {"GPU-simulated-0-1": "too hot"}, "missing": ["GPU-simulated-1-0"]}))
    (group,) = hardware.groups()
    assert [device.ailment for device in group.devices] == ["", "too hot"]
    state.unlink()
    assert [len(group.devices) for group in hardware.groups()] == [2, 1]


@pytest.mark.parametrize("text", ["{", '{"sick": []}', '{"ill": {}}'])
def test_a_state_file_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    state = tmp_path / "state"
    state.write_text(text)
    with pytest.raises(ValueError, match="cannot be read"):
        SimulatedHardware(MODELS, state).groups()


def test_statistics_are_of_every_card() -> None:
    h100s, a10gs = SimulatedHardware(MODELS).statistics()
    assert (len(h100s.devices), len(a10gs.devices)) == (2, 1)
    memory = h100s.devices["GPU-simulated-0-0"][GroupStatistics.SUMMARY]
    assert memory.limit == 81559
    assert 0 < memory.value < 81559
