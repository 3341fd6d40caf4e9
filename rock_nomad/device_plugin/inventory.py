"""The node's devices as last seen.

A thread of its own looks at them, because a dead card can hold a call of its driver's for ever; nobody else waits for
the hardware.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import msgspec

from rock_nomad.device_plugin.devices import Device, DeviceGroup, Hardware

__all__ = ["Inventory"]

log = logging.getLogger(__name__)


class Inventory:
    """What the last look showed, until there has been none for too long: then every device counts as sick."""

    def __init__(self, hardware: Hardware, *, period: float, patience: float) -> None:
        self.hardware = hardware
        self._period = period
        self._patience = patience
        self._changed = threading.Condition()
        self._groups: list[DeviceGroup] = []
        self._version = 0  # of the groups; 0: not looked yet
        self._looked_at = time.monotonic()
        self._trouble = ""
        self._is_silent = False
        self._is_started = self._is_stopped = False

    def start(self) -> None:
        """Begin to look, if need be; the thread ends with the process, because it may hang in a call."""
        with self._changed:
            if not self._is_started:
                threading.Thread(target=self._look_on, name="inventory", daemon=True).start()
            self._is_started = True

    def stop(self) -> None:
        """Look no more, after the next look."""
        self._is_stopped = True

    def wait_change(
        self, version: int, is_over: Callable[[], bool], *, timeout: float
    ) -> tuple[int, list[DeviceGroup]]:
        """The devices and their version, once it is not `version`, or `is_over`, or the timeout has passed.

        Versions only grow; begin with 0, that of devices not looked at yet, of which there are none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._current_version() != version or is_over(), timeout)
            return self._current_version(), self._advertised()

    def wake(self) -> None:
        """Have those who wait look whether they are over."""
        with self._changed:
            self._changed.notify_all()

    def _look_on(self) -> None:
        while not self._is_stopped:
            try:
                self._take(self.hardware.groups())
                self.hardware.pause(self._period)
            except Exception as error:  # noqa: BLE001 - a task's outermost edge: whatever goes wrong, look again
                self._note_trouble(error)
                time.sleep(self._period)

    def _take(self, groups: list[DeviceGroup]) -> None:
        with self._changed:
            self._looked_at = time.monotonic()
            if self._trouble:
                log.info("the devices can be seen again")
            if groups != self._groups or not self._version or self._is_silent:
                _log_devices(groups)
                self._version += 1
            self._groups, self._trouble, self._is_silent = groups, "", False
            self._changed.notify_all()

    def _note_trouble(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"
        if said != self._trouble:
            log.warning("the devices cannot be seen, and are taken to be as they were: %s", said, exc_info=error)
        self._trouble = said

    def _current_version(self) -> int:
        if self._version and not self._is_silent and time.monotonic() - self._looked_at > self._patience:
            log.error("no answer about the devices for %g s: all count as sick", self._patience)
            self._is_silent = True
            self._version += 1
        return self._version

    def _advertised(self) -> list[DeviceGroup]:
        if not self._is_silent:
            return self._groups
        why = f"no answer about it for {self._patience:g} s"
        if self._trouble:
            why += f" ({self._trouble})"
        return [
            msgspec.structs.replace(group, devices=tuple(_with_ailment(device, why) for device in group.devices))
            for group in self._groups
        ]


def _with_ailment(device: Device, ailment: str) -> Device:
    return msgspec.structs.replace(device, ailment=device.ailment or ailment)


def _log_devices(groups: list[DeviceGroup]) -> None:
    log.info("devices: %s", ", ".join(f"{len(group.devices)} x {group.model}" for group in groups) or "none")
    for device in (device for group in groups for device in group.devices if device.ailment):
        log.warning("%s is sick: %s", device.id, device.ailment)
