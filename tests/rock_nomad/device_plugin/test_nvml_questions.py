from __future__ import annotations

import pynvml
import pytest

from rock_nomad.device_plugin.devices import GroupStatistics, Quantity
from rock_nomad.device_plugin.nvml_questions import (
    CardLost,
    Handle,
    ask,
    card_attributes,
    examine,
    instance_attributes,
    measure,
)
from tests.rock_nomad.device_plugin.stub import Driver


@pytest.fixture
def card(driver: Driver) -> Handle:
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def test_attributes_have_the_names_of_hashicorps_plugin(card: Handle) -> None:
    assert card_attributes(card) == {
        "memory": Quantity(81559, "MiB"), "cores_clock": Quantity(1980, "MHz"), "memory_clock": Quantity(2619, "MHz"),
        "power": Quantity(700, "W"), "bar1": Quantity(131072, "MiB"), "compute": Quantity(9.0),
        "pci_bandwidth": Quantity(63008, "MB/s"), "display_state": Quantity("Disabled"),
        "persistence_mode": Quantity("Enabled"),
    }  # fmt: skip
    assert instance_attributes(card) == {"memory": Quantity(81559, "MiB")}


def test_what_a_card_does_not_tell_is_left_out(driver: Driver, card: Handle) -> None:
    driver.update(card_0_memory_clock=None, card_0_compute=None, card_0_generation=None, card_0_memory=None)
    assert card_attributes(card).keys() == {"cores_clock", "power", "bar1", "display_state", "persistence_mode"}
    assert instance_attributes(card) == {}


@pytest.mark.parametrize(
    ("answers", "ailment", "is_sound"),
    [
        ({}, "", False),
        ({"card_0_remap_failure": 0}, "", False),
        ({"card_0_remap_failure": 1}, "a row of its memory could not be remapped", False),
        ({"card_0_recovery": 0}, "", True),
        ({"card_0_recovery": 1}, "the driver asks for a reset of the card", False),
        ({"card_0_recovery": 7}, "the driver asks for recovery action 7", False),
    ],
)
def test_what_the_driver_finds_wrong_with_a_card(
    driver: Driver, card: Handle, answers: dict[str, object], ailment: str, is_sound: bool
) -> None:
    driver.update(**answers)
    assert examine(card) == (ailment, is_sound)


def test_statistics_have_the_names_of_hashicorps_plugin(card: Handle) -> None:
    values = measure(card)
    memory, power = values[GroupStatistics.SUMMARY], values["Power usage"]
    assert (memory.value, memory.limit, memory.unit) == (1024, 81559, "MiB")
    assert (power.value, power.limit, power.unit) == (312, 700, "W")
    assert {"GPU utilization", "Temperature", "ECC memory errors"} <= values.keys()
    assert "Encoder utilization" not in values  # which this card does not tell


@pytest.mark.parametrize("code", [15, 16], ids=["lost", "reset required"])
def test_a_card_that_answers_nothing_says_so(driver: Driver, card: Handle, code: int) -> None:
    driver.update(card_0_error=code)
    with pytest.raises(CardLost):
        ask(pynvml.nvmlDeviceGetName, card)
