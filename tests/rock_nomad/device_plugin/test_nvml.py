from __future__ import annotations

import threading
import time

import pytest

from rock_nomad.device_plugin.devices import GroupStatistics, Quantity
from rock_nomad.device_plugin.nvml import Card, CardError, DriverFailed, DriverMissing, Nvml
from tests.rock_nomad.device_plugin.stub import Driver

_H100 = "GPU-00000000-0000-0000-0000-000000000000"


def test_cards_are_described(driver: Driver) -> None:
    first, second, third = Nvml().cards()
    assert (first.id, first.model, first.pci_bus_id, first.minor) == (
        _H100, "NVIDIA H100 80GB HBM3", "00000000:00:00.0", 0,
    )  # fmt: skip
    assert first.attributes["driver_version"] == Quantity("570.124.06")
    assert first.attributes["mig"] == Quantity(value=False)
    assert first.attributes.keys() > {"memory", "cores_clock", "power"}
    assert (second.model, third.model) == ("NVIDIA H100 80GB HBM3", "NVIDIA A10G")
    assert not any(card.ailment or card.is_divided for card in (first, second, third))


def test_a_divided_card_has_its_instances_beside_it(driver: Driver) -> None:
    ids = driver.divide(0, 40448, 40448)
    parent, *instances, _, _ = Nvml().cards()
    assert parent.is_divided
    assert [each.id for each in instances] == ids
    assert {each.parent_id for each in instances} == {parent.id}
    assert [each.instance for each in instances] == [(1, 0), (2, 0)]
    assert instances[0].model == "NVIDIA H100 80GB HBM3 MIG 3g.40gb"
    assert instances[0].attributes["memory"] == Quantity(40448, "MiB")
    assert instances[0].attributes["mig"] == Quantity(value=True)
    assert instances[0].minor is None


@pytest.mark.parametrize("code", [15, 16], ids=["lost", "reset required"])
def test_a_card_that_answers_nothing_is_passed_over(driver: Driver, code: int) -> None:
    nvml = Nvml()
    assert len(nvml.cards()) == 3
    driver.update(card_0_error=code)
    assert [card.id for card in nvml.cards()] != []
    assert _H100 not in {card.id for card in nvml.cards()}
    assert [len(group.devices) for group in nvml.statistics()] == [1, 1]


@pytest.mark.parametrize("code", [9, 12])
def test_a_driver_that_comes_later_is_found(driver: Driver, code: int) -> None:
    driver.update(init=code)
    nvml = Nvml()
    with pytest.raises(DriverMissing):
        nvml.cards()
    driver.update(init=0)
    assert len(nvml.cards()) == 3


def test_a_driver_that_fails_is_opened_again(driver: Driver) -> None:
    nvml = Nvml()
    nvml.cards()
    driver.update(driver=None)
    with pytest.raises(DriverFailed):
        nvml.cards()
    driver.update(driver="580.1")
    assert nvml.cards()[0].attributes["driver_version"] == Quantity("580.1")


def test_an_error_ends_the_wait(driver: Driver) -> None:
    nvml = Nvml()
    nvml.cards()
    driver.report(0, data=79)
    began = time.monotonic()
    assert nvml.wait_error(120) == CardError(card_id=_H100, instance=None, what="XID 79")
    assert time.monotonic() - began < 60


def test_an_ecc_error_is_of_its_instance(driver: Driver) -> None:
    nvml = Nvml()
    nvml.cards()
    driver.report(1, kind=2, data=0, instance=(2, 0))
    error = nvml.wait_error(120)
    assert error is not None
    assert (error.instance, error.what) == ((2, 0), "an ECC error of two bits")


@pytest.mark.parametrize("xid", [13, 31, 43, 45, 68, 109])
def test_an_error_that_a_program_brings_about_is_none_of_the_card(driver: Driver, xid: int) -> None:
    nvml = Nvml()
    nvml.cards()
    driver.report(0, data=xid)
    assert nvml.wait_error(0.1) is None
    driver.report(0, data=xid)
    threading.Timer(0.05, driver.report, (0,)).start()
    error = nvml.wait_error(120)
    assert error is not None
    assert error.what == "XID 79"


def test_without_an_error_the_wait_ends_by_itself(driver: Driver) -> None:
    nvml = Nvml()
    assert nvml.wait_error(0.01) is None  # nothing is watched before the cards are known
    nvml.cards()
    assert nvml.wait_error(0.02) is None


def test_an_error_concerns_a_card_and_all_its_instances_or_one() -> None:
    card = Card(id="GPU-1", model="A", is_divided=True)
    one, two = (Card(id=f"MIG-{n}", model="A", parent_id="GPU-1", instance=(n, 0)) for n in (1, 2))
    whole = CardError(card_id="GPU-1", instance=None, what="")
    assert [whole.is_of(each) for each in (card, one, two)] == [True, True, True]
    part = CardError(card_id="GPU-1", instance=(2, 0), what="")
    assert [part.is_of(each) for each in (card, one, two)] == [False, False, True]
    assert not CardError(card_id="GPU-2", instance=None, what="").is_of(one)


def test_statistics_are_of_every_card_and_instance(driver: Driver) -> None:
    ids = driver.divide(1, 40448)
    nvml = Nvml()
    assert nvml.statistics() == []
    nvml.cards()
    by_model = {group.model: group.devices for group in nvml.statistics()}
    assert _H100 in by_model["NVIDIA H100 80GB HBM3"]
    assert by_model["NVIDIA H100 80GB HBM3 MIG 3g.40gb"].keys() == set(ids)
    assert GroupStatistics.SUMMARY in by_model["NVIDIA A10G"]["GPU-00000000-0000-0000-0000-000000000002"]
