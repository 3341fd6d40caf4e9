"""The node's NVIDIA GPUs, and which of them are sick.

A card is sick while the driver finds something wrong with it, does not find it any more, or has reported an error of it
that no program can have brought about.  That last does not pass by itself: a reset or a reboot cures, and then the
operator takes it off the list, or the driver says that it needs no recovery (`recheck`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from rock_nomad.device_plugin.devices import Device, DeviceGroup, GroupStatistics, Hardware, Quantity
from rock_nomad.device_plugin.nvml import Card, CardError, DriverMissing, Nvml
from rock_nomad.device_plugin.sick_list import SickList

__all__ = ["NvidiaHardware"]

log = logging.getLogger(__name__)

_LOST = "the driver does not find it any more"
_CONTROL_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")


class NvidiaHardware:
    """The cards and instances that the driver has, or had."""

    # Container runtimes obey the first; CUDA itself, and so a bare process, the second.
    variables: Sequence[str] = ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")

    def __init__(
        self, sick_list: SickList, *, ignored: Collection[str] = (), recheck: bool = False, dev: Path = Path("/dev")
    ) -> None:
        self._nvml = Nvml()
        self._sick_list = sick_list
        self._ignored = frozenset(ignored)
        self._recheck = recheck
        self._dev = dev
        self._cards: list[Card] = []  # as last seen, instances and lost ones included

    def groups(self) -> list[DeviceGroup]:
        """The cards by model, lost ones included.

        Raises DriverFailed; DriverMissing: it was there before.
        """
        try:
            found = self._nvml.cards()
        except DriverMissing:
            if self._cards:
                raise
            return []  # a node without GPUs, or one whose driver comes later
        ids = {card.id for card in found}
        # An instance may go for good: its card was divided otherwise.
        found += [_lost(card) for card in self._cards if card.id not in ids and not card.parent_id]
        self._cards = found
        sick = self._sick_list.read()
        if self._recheck:
            sick = self._discharge(found, sick)
        usable = [card for card in found if not card.is_divided and card.id not in self._ignored]
        by_model: dict[str, list[Card]] = {}
        for card in usable:
            by_model.setdefault(card.model, []).append(card)
        return [
            DeviceGroup(
                model=model,
                devices=tuple(self._device(card, sick.get(card.id, "")) for card in cards),
                attributes=_common(cards),
            )
            for model, cards in sorted(by_model.items())
        ]

    def pause(self, seconds: float) -> None:
        """Wait for an error of a card that is not on the list, and put it there.  Raises DriverFailed."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            error = self._nvml.wait_error(left)
            if error is not None and self._admit(error):
                return

    def statistics(self) -> list[GroupStatistics]:
        """Raises DriverFailed."""
        return self._nvml.statistics()

    def _admit(self, error: CardError) -> bool:
        """Put those that an error is of on the list; whether any was not there.

        The first error stays: a dying card has many, and each change of its description would register the node anew.
        """
        hit = [card.id for card in self._cards if error.is_of(card)] or [error.card_id]
        known = self._sick_list.read()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        for id_ in (each for each in hit if each not in known):
            log.error("%s has had %s", id_, error.what)
            self._sick_list.add(id_, f"{error.what} at {at}")
        return not known.keys() >= set(hit)

    def _discharge(self, cards: Iterable[Card], sick: dict[str, str]) -> dict[str, str]:
        for card in cards:
            if card.is_sound and card.id in sick:
                log.info("%s needs no recovery, says the driver: %s is forgotten", card.id, sick.pop(card.id))
                self._sick_list.remove(card.id)
        return sick

    def _device(self, card: Card, remembered: str) -> Device:
        ailment = remembered or card.ailment
        return Device(id=card.id, pci_bus_id=card.pci_bus_id, ailment=ailment, nodes=self._nodes(card))

    def _nodes(self, card: Card) -> tuple[str, ...]:
        """The device nodes for the `exec` driver, and for containers, which lose theirs when systemd is reloaded.

        None for an instance: only the container runtime knows the capabilities it needs.
        """
        if card.minor is None:
            return ()
        nodes = [self._dev / name for name in (f"nvidia{card.minor}", *_CONTROL_NODES)]
        return tuple(str(node) for node in nodes if node.exists())


def _lost(card: Card) -> Card:
    return msgspec.structs.replace(card, ailment=_LOST, is_sound=False)


def _common(cards: Sequence[Card]) -> dict[str, Quantity]:
    """What holds for all of these cards: of a number the least; of anything else only what they agree upon."""
    first, *others = (card.attributes for card in cards)
    found = {}
    for name, quantity in first.items():
        theirs = [attributes[name] for attributes in others if name in attributes]
        if len(theirs) < len(others):
            continue
        if isinstance(quantity.value, (bool, str)):
            if all(each == quantity for each in theirs):
                found[name] = quantity
        else:
            found[name] = min((quantity, *theirs), key=lambda each: float(each.value))
    return found


_: type[Hardware] = NvidiaHardware
