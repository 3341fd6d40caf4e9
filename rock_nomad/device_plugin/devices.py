"""Devices as values, what kinds of hardware have in common, and what a task is given of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

__all__ = [
    "TYPE",
    "VENDOR",
    "Device",
    "DeviceGroup",
    "GroupStatistics",
    "Hardware",
    "Quantity",
    "Reservation",
    "Statistic",
    "Unreservable",
    "reserve",
]

VENDOR, TYPE = "nvidia", "gpu"
"""What jobs name: `device "nvidia/gpu"`."""


class Quantity(msgspec.Struct, frozen=True):
    """An attribute's value; for numbers the unit, which must be one of Nomad's (MiB, MHz, W, MB/s, ...) or empty."""

    value: bool | int | float | str
    unit: str = ""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A card, or an instance that a card was divided into."""

    id: str
    """As the driver names it: GPU-... or MIG-...."""
    pci_bus_id: str = ""
    ailment: str = ""
    """Why it must not be given out; empty: it is well."""
    nodes: tuple[str, ...] = ()
    """The device nodes of the host that a task needs to use it."""


class DeviceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of one model, and what is true of each of them.

    Nomad asks a group, not a device, whether it meets a constraint; so nothing that changes by itself, such as a
    temperature, may be an attribute: each change registers the node anew.
    """

    model: str
    devices: tuple[Device, ...]
    attributes: Mapping[str, Quantity]

    def advertised_attributes(self) -> dict[str, Quantity]:
        """The attributes, with the number of devices that are well.

        Nomad leaves health out of a node's computed class, and does not look again at a job that no node of a class
        could hold; the count changes the class with the health, so that what waits for a cure is tried after it.
        """
        return {**self.attributes, "healthy": Quantity(sum(not device.ailment for device in self.devices))}


class Statistic(msgspec.Struct, frozen=True, kw_only=True):
    """A number that was measured, perhaps out of a limit."""

    value: int | float
    limit: int | float | None = None
    unit: str = ""
    description: str = ""


class GroupStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on the devices of one model, by device id and name; SUMMARY is among the names."""

    SUMMARY = "Memory state"

    model: str
    devices: Mapping[str, Mapping[str, Statistic]]


class Hardware(Protocol):
    """Where devices come from.  One thread calls groups and pause, others statistics; a call may hang with a card."""

    @property
    def variables(self) -> Sequence[str]:
        """The environment variables by which a task learns the ids of its devices."""

    def groups(self) -> list[DeviceGroup]:
        """The devices that there are, sick ones included.  Raises anything: what was seen before is then kept."""

    def pause(self, seconds: float) -> None:
        """Wait so long, or until something has happened to a device.  Raises likewise."""

    def statistics(self) -> list[GroupStatistics]:
        """What can be measured now.  Raises likewise."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What a task is given."""

    env: dict[str, str]
    nodes: list[str]


class Unreservable(Exception):
    """Devices that are not there, or sick; the message names them."""


def reserve(groups: Iterable[DeviceGroup], ids: Collection[str], variables: Iterable[str]) -> Reservation:
    """What a task is given that is to have these devices.

    Raises Unreservable: Nomad has placed the task before it heard of what happened to a device.
    """
    known = {device.id: device for group in groups for device in group.devices}
    missing = [f"{each} is not there" for each in ids if each not in known]
    sick = [f"{each} is sick: {known[each].ailment}" for each in ids if each in known and known[each].ailment]
    if missing or sick:
        raise Unreservable("; ".join([*missing, *sick]))
    nodes = dict.fromkeys(node for each in ids for node in known[each].nodes)
    return Reservation(env=dict.fromkeys(variables, ",".join(ids)), nodes=list(nodes))
