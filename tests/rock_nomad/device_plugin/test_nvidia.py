from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from rock_nomad.device_plugin.devices import Device, DeviceGroup, Quantity
from rock_nomad.device_plugin.nvidia import NvidiaHardware
from rock_nomad.device_plugin.nvml import DriverFailed, DriverMissing
from rock_nomad.device_plugin.sick_list import SickList
from tests.rock_nomad.device_plugin.stub import WHOLE, Driver

_IDS = [f"GPU-00000000-0000-0000-0000-{number:012d}" for number in range(3)]


def _hardware(tmp_path: Path, *, ignored: tuple[str, ...] = (), recheck: bool = False) -> NvidiaHardware:
    return NvidiaHardware(SickList(tmp_path / "sick.json"), ignored=ignored, recheck=recheck, dev=tmp_path)


def _devices(groups: list[DeviceGroup]) -> dict[str, Device]:
    return {device.id: device for group in groups for device in group.devices}


def _ailments(hardware: NvidiaHardware) -> dict[str, str]:
    return {id_: device.ailment for id_, device in _devices(hardware.groups()).items() if device.ailment}


def test_cards_of_a_model_are_one_group(driver: Driver, tmp_path: Path) -> None:
    a10gs, h100s = _hardware(tmp_path).groups()
    assert (a10gs.model, h100s.model) == ("NVIDIA A10G", "NVIDIA H100 80GB HBM3")
    assert [device.id for device in h100s.devices] == _IDS[:2]
    assert h100s.attributes["memory"] == Quantity(81559, "MiB")


def test_an_attribute_holds_for_every_card_of_its_group(driver: Driver, tmp_path: Path) -> None:
    driver.update(card_0_limit=500_000, card_1_persistence=0, card_0_bar1=None)
    _, h100s = _hardware(tmp_path).groups()
    assert h100s.attributes["power"] == Quantity(500, "W")
    assert h100s.attributes.keys().isdisjoint({"persistence_mode", "bar1"})
    assert "display_state" in h100s.attributes


def test_ignored_cards_are_left_alone(driver: Driver, tmp_path: Path) -> None:
    assert _devices(_hardware(tmp_path, ignored=(_IDS[1],)).groups()).keys() == {_IDS[0], _IDS[2]}


def test_a_card_is_given_with_the_device_nodes_that_exist(driver: Driver, tmp_path: Path) -> None:
    for name in ("nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    devices = _devices(_hardware(tmp_path).groups())
    assert devices[_IDS[1]].nodes == (f"{tmp_path}/nvidia1", f"{tmp_path}/nvidiactl")
    driver.divide(1, 40448)
    assert _devices(_hardware(tmp_path).groups())["MIG-1-0"].nodes == ()


def test_instances_take_the_place_of_their_card(driver: Driver, tmp_path: Path) -> None:
    hardware = _hardware(tmp_path)
    hardware.groups()
    ids = driver.divide(0, 40448, 40448)
    devices = _devices(hardware.groups())
    assert devices.keys() == {*ids, *_IDS[1:]}
    driver.update(card_0_mig=0)
    assert _devices(hardware.groups()).keys() == set(_IDS)  # and the instances are not missed
    assert not _ailments(hardware)


def test_an_error_makes_a_card_sick_for_good(driver: Driver, tmp_path: Path) -> None:
    hardware = _hardware(tmp_path)
    hardware.groups()
    driver.report(0, data=79)
    hardware.pause(30)
    ailments = _ailments(hardware)
    assert ailments.keys() == {_IDS[0]}
    assert ailments[_IDS[0]].startswith("XID 79 at 20")
    driver.update(card_0_recovery=0)
    assert _ailments(_hardware(tmp_path)) == ailments  # of another process of the plugin, too
    (tmp_path / "sick.json").unlink()  # the operator's word
    assert not _ailments(hardware)


def test_the_first_error_stays(driver: Driver, tmp_path: Path) -> None:
    """Each change of what ails a card would register the node anew, and a dying card has many errors."""
    (tmp_path / "sick.json").write_text(json.dumps({_IDS[0]: "XID 48 at noon"}))
    hardware = _hardware(tmp_path)
    hardware.groups()
    driver.report(0, data=79)
    threading.Timer(0.1, driver.report, (1,)).start()
    hardware.pause(30)
    ailments = _ailments(hardware)
    assert ailments.keys() == {_IDS[0], _IDS[1]}
    assert ailments[_IDS[0]] == "XID 48 at noon"


def test_recheck_gives_a_card_back_once_the_driver_wants_nothing_done(driver: Driver, tmp_path: Path) -> None:
    hardware = _hardware(tmp_path, recheck=True)
    hardware.groups()
    driver.report(0, data=79)
    hardware.pause(30)
    assert _ailments(hardware)  # this driver does not say
    driver.update(card_0_recovery=1)
    assert "XID 79" in _ailments(hardware)[_IDS[0]]
    driver.update(card_0_recovery=0)
    assert not _ailments(hardware)
    driver.update(card_0_recovery=None)
    assert not _ailments(hardware)


@pytest.mark.parametrize(("instance", "sick"), [((2, 0), {"MIG-0-1"}), ((WHOLE, WHOLE), {"MIG-0-0", "MIG-0-1"})])
def test_an_error_of_an_instance_spares_the_others(
    driver: Driver, tmp_path: Path, instance: tuple[int, int], sick: set[str]
) -> None:
    driver.divide(0, 40448, 40448)
    hardware = _hardware(tmp_path)
    hardware.groups()
    driver.report(0, kind=2, data=0, instance=instance)
    hardware.pause(30)
    assert _ailments(hardware).keys() == sick


def test_a_card_that_falls_off_its_bus_is_sick_not_gone(driver: Driver, tmp_path: Path) -> None:
    hardware = _hardware(tmp_path)
    hardware.groups()
    driver.update(card_1_error=15)
    assert _ailments(hardware) == {_IDS[1]: "the driver does not find it any more"}
    driver.report(1, data=79)
    hardware.pause(30)
    driver.update(card_1_error=None)
    assert _ailments(hardware).keys() == {_IDS[1]}  # it is back, and its error is not forgotten
    driver.update(count=2)
    assert _ailments(hardware).keys() == {_IDS[1], _IDS[2]}


def test_what_the_driver_finds_wrong_passes_with_it(driver: Driver, tmp_path: Path) -> None:
    hardware = _hardware(tmp_path)
    driver.update(card_0_recovery=2)
    assert _ailments(hardware) == {_IDS[0]: "the driver asks for a reboot of the node"}
    driver.update(card_0_recovery=0)
    assert not _ailments(hardware)


def test_a_node_without_a_driver_has_no_devices_until_it_comes(driver: Driver, tmp_path: Path) -> None:
    driver.update(init=12)
    hardware = _hardware(tmp_path)
    assert hardware.groups() == []
    driver.update(init=0)
    assert len(_devices(hardware.groups())) == 3


def test_a_driver_that_goes_is_an_error(driver: Driver, tmp_path: Path) -> None:
    hardware = _hardware(tmp_path)
    hardware.groups()
    driver.update(driver=None)
    with pytest.raises(DriverFailed):
        hardware.groups()
    driver.update(init=9)
    with pytest.raises(DriverMissing):
        hardware.groups()
    assert hardware.statistics() == []
