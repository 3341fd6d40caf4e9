from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from rock_nomad.device_plugin.devices import Device, DeviceGroup, GroupStatistics, Hardware
from rock_nomad.device_plugin.inventory import Inventory

ONE = DeviceGroup(model="A", devices=(Device(id="a"),), attributes={})
SICK = DeviceGroup(model="A", devices=(Device(id="a", ailment="XID 79"),), attributes={})
_WAIT = 30.0  # seconds; far more than anything here takes
_SHORT = 0.05


class ScriptedHardware:
    """Hardware that shows what it is told to: groups, or an error, for each look."""

    variables: Sequence[str] = ()

    def __init__(self) -> None:
        self.looks: queue.Queue[list[DeviceGroup] | Exception] = queue.Queue()
        self.lookers: set[int] = set()

    def groups(self) -> list[DeviceGroup]:
        self.lookers.add(threading.get_ident())
        look = self.looks.get()  # hangs, as a driver may
        if isinstance(look, Exception):
            raise look
        return look

    def pause(self, seconds: float) -> None:
        pass

    def statistics(self) -> list[GroupStatistics]:
        return []


_: type[Hardware] = ScriptedHardware


@pytest.fixture
def hardware() -> ScriptedHardware:
    return ScriptedHardware()


@pytest.fixture
def start(hardware: ScriptedHardware) -> Iterator[Callable[[float], Inventory]]:
    started: list[Inventory] = []

    def start(patience: float) -> Inventory:
        inventory = Inventory(hardware, period=0.01, patience=patience)
        inventory.start()
        started.append(inventory)
        return inventory

    yield start
    for inventory in started:
        inventory.stop()
        hardware.looks.put([])  # the last look


def _never() -> bool:
    return False


def test_each_change_is_a_version(hardware: ScriptedHardware, start: Callable[[float], Inventory]) -> None:
    inventory = start(_WAIT)
    assert inventory.wait_change(0, _never, timeout=_SHORT) == (0, [])
    for look in ([ONE], [ONE], [SICK]):
        hardware.looks.put(look)
    version, groups = inventory.wait_change(0, _never, timeout=_WAIT)
    while groups != [SICK]:
        assert groups == [ONE]
        version, groups = inventory.wait_change(version, _never, timeout=_WAIT)
    assert version == 2


def test_no_devices_are_a_version_too(hardware: ScriptedHardware, start: Callable[[float], Inventory]) -> None:
    hardware.looks.put([])
    assert start(_WAIT).wait_change(0, _never, timeout=_WAIT) == (1, [])


def test_an_error_keeps_what_was_seen(
    hardware: ScriptedHardware, start: Callable[[float], Inventory], caplog: pytest.LogCaptureFixture
) -> None:
    for look in ([ONE], RuntimeError("no answer"), RuntimeError("no answer"), [SICK]):
        hardware.looks.put(look)
    inventory = start(_WAIT)
    version, groups = inventory.wait_change(0, _never, timeout=_WAIT)
    while groups == [ONE]:
        version, groups = inventory.wait_change(version, _never, timeout=_WAIT)
    assert (version, groups) == (2, [SICK])
    assert caplog.text.count("cannot be seen") == 1


@pytest.mark.parametrize("fails", [False, True], ids=["hangs", "fails"])
def test_a_driver_that_is_silent_for_too_long_makes_all_sick_until_it_answers(
    hardware: ScriptedHardware, start: Callable[[float], Inventory], fails: bool
) -> None:
    hardware.looks.put([ONE])
    inventory = start(0.1)
    version, groups = inventory.wait_change(0, _never, timeout=_WAIT)
    if fails:
        hardware.looks.put(RuntimeError("no more"))
    while not groups[0].devices[0].ailment:
        version, groups = inventory.wait_change(version, _never, timeout=_SHORT)
    why = " (RuntimeError: no more)" if fails else ""
    assert groups[0].devices[0].ailment == f"no answer about it for 0.1 s{why}"
    assert version == 2
    hardware.looks.put([ONE])
    assert inventory.wait_change(version, _never, timeout=_WAIT) == (3, [ONE])


def test_who_waits_is_woken_to_see_that_it_is_over(
    hardware: ScriptedHardware, start: Callable[[float], Inventory]
) -> None:
    inventory, over = start(_WAIT), threading.Event()

    def end() -> None:
        over.set()
        inventory.wake()

    threading.Timer(_SHORT, end).start()
    assert inventory.wait_change(0, over.is_set, timeout=_WAIT) == (0, [])


def test_one_thread_looks_however_often_it_is_started(
    hardware: ScriptedHardware, start: Callable[[float], Inventory]
) -> None:
    inventory = start(_WAIT)
    inventory.start()
    for look in ([ONE], [SICK], [ONE]):
        hardware.looks.put(look)
    version = 0
    while version < 3:
        version, _groups = inventory.wait_change(version, _never, timeout=_WAIT)
    assert len(hardware.lookers) == 1
