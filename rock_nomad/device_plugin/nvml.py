"""NVIDIA's driver: which cards and instances there are, their errors and what can be measured on them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pynvml

from rock_nomad.device_plugin.devices import GroupStatistics, Quantity, Statistic
from rock_nomad.device_plugin.nvml_questions import (
    CardLost,
    Handle,
    ask,
    card_attributes,
    examine,
    instance_attributes,
    measure,
)

__all__ = ["Card", "CardError", "DriverFailed", "DriverMissing", "Nvml"]

log = logging.getLogger(__name__)

_NO_DRIVER = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
_WHOLE_CARD = 0xFFFFFFFF  # an event's instance, if it is of no single one
_EVENTS = pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeDoubleBitEccError

_APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Errors that a program's own fault brings about, on a card that is well.

Source: NVIDIA/k8s-device-plugin internal/rm/health.go.
"""


class DriverMissing(Exception):
    """This node has no NVIDIA driver, or it is not loaded."""


class DriverFailed(Exception):
    """The driver is there and would not say which cards there are; ask again later."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A card, or an instance (MIG) of one, as the driver describes it."""

    id: str
    model: str
    pci_bus_id: str = ""
    attributes: Mapping[str, Quantity] = {}
    minor: int | None = None
    """The n of /dev/nvidia<n>; None for an instance."""
    parent_id: str = ""
    """The card's that an instance is of."""
    instance: tuple[int, int] | None = None
    """Its GPU instance and its compute instance."""
    is_divided: bool = False
    """Whether it has instances, which are then used in its place."""
    ailment: str = ""
    """What the driver finds wrong with it now."""
    is_sound: bool = False
    """Whether the driver says that it needs no recovery; older ones never do."""


class CardError(msgspec.Struct, frozen=True, kw_only=True):
    """An error that the driver has reported of a card, or of one instance of it."""

    card_id: str
    instance: tuple[int, int] | None
    what: str

    def is_of(self, card: Card) -> bool:
        """Whether it concerns a card, or an instance; one of a whole card concerns all its instances."""
        if self.instance is not None:
            return (card.parent_id, card.instance) == (self.card_id, self.instance)
        return self.card_id in (card.id, card.parent_id)


class Nvml:
    """The driver, opened when it is first asked and again when it has failed."""

    def __init__(self) -> None:
        self._is_open = False
        self._events: Any = None
        self._present: frozenset[str] = frozenset()  # the cards of the last look
        self._ids: dict[int, str] = {}  # of every card since the driver was opened, by address

    def cards(self) -> list[Card]:
        """All cards and their instances.  Raises DriverMissing, DriverFailed."""
        with self._opened():
            shared = {"driver_version": Quantity(pynvml.nvmlSystemGetDriverVersion())}
            handles = dict(_handles())
            self._watch(handles)
            return [each for id_, handle in handles.items() for each in _describe(id_, handle, shared)]

    def wait_error(self, seconds: float) -> CardError | None:
        """The next error of a card that is watched, which they are once they were asked for; None: none for so long.

        Raises DriverFailed.
        """
        if self._events is None:
            time.sleep(seconds)
            return None
        deadline = time.monotonic() + seconds
        with self._opened():
            while (left := deadline - time.monotonic()) > 0:
                try:
                    event = pynvml.nvmlEventSetWait(self._events, int(left * 1000))
                except pynvml.NVMLError_Timeout:
                    break
                # By its address, because a card that has fallen off its bus does not tell its id.
                card_id = self._ids.get(_address(event.device))
                if card_id is not None and (error := _card_error(event, card_id)) is not None:
                    return error
        return None

    def statistics(self) -> list[GroupStatistics]:
        """What can be measured of every card and instance; nothing before the cards were asked for.

        May be called from another thread, and so neither opens nor closes the driver.  Raises DriverFailed.
        """
        measured: dict[str, dict[str, Mapping[str, Statistic]]] = {}
        try:
            for id_, handle in _handles() if self._is_open else ():
                with contextlib.suppress(CardLost):
                    for one_id, one in {id_: handle, **_instances(handle)}.items():
                        measured.setdefault(pynvml.nvmlDeviceGetName(one), {})[one_id] = measure(one)
        except pynvml.NVMLError as error:
            raise DriverFailed(str(error)) from error
        return [GroupStatistics(model=model, devices=devices) for model, devices in measured.items()]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        try:
            if not self._is_open:
                pynvml.nvmlInit()
                self._is_open = True
            yield
        except pynvml.NVMLError as error:
            self._close()
            kind = DriverMissing if error.value in _NO_DRIVER else DriverFailed
            raise kind(str(error)) from error

    def _close(self) -> None:
        self._present, self._ids, self._events = frozenset(), {}, None
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _watch(self, handles: Mapping[str, Handle]) -> None:
        """Have the driver report the errors of these cards.

        While cards only go, nothing is changed: why one has gone may not have been read yet.
        """
        new = handles.keys() - self._present
        self._present = frozenset(handles)
        if not new:
            return
        if self._events is not None:
            pynvml.nvmlEventSetFree(self._events)
        self._events = pynvml.nvmlEventSetCreate()
        self._ids |= {_address(handle): id_ for id_, handle in handles.items()}
        for id_, handle in handles.items():
            try:
                known = pynvml.nvmlDeviceGetSupportedEventTypes(handle)
                pynvml.nvmlDeviceRegisterEvents(handle, _EVENTS & known, self._events)
            except pynvml.NVMLError as error:
                log.warning("the errors of %s cannot be watched: %s", id_, error)


def _handles() -> Iterator[tuple[str, Handle]]:
    """The cards that can be asked, by id."""
    for index in range(pynvml.nvmlDeviceGetCount()):
        with contextlib.suppress(CardLost):
            handle = ask(pynvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None and (id_ := ask(pynvml.nvmlDeviceGetUUID, handle)):
                yield id_, handle


def _instances(card: Handle) -> dict[str, Handle]:
    """A card's instances, by id; none if it is not divided."""
    current, _pending = ask(pynvml.nvmlDeviceGetMigMode, card) or (0, 0)
    if not current:
        return {}
    slots = range(ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, card) or 0)
    found = [ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, card, slot) for slot in slots]
    return {pynvml.nvmlDeviceGetUUID(handle): handle for handle in found if handle is not None}


def _describe(id_: str, handle: Handle, shared: Mapping[str, Quantity]) -> Iterator[Card]:
    """A card, and the instances it is divided into."""
    pci = _ask_bus(handle)
    try:
        model = ask(pynvml.nvmlDeviceGetName, handle) or "unknown"
        ailment, is_sound = examine(handle)
        instances = _instances(handle)
        mode, _pending = ask(pynvml.nvmlDeviceGetMigMode, handle) or (0, 0)
        yield Card(
            id=id_,
            model=model,
            pci_bus_id=pci,
            attributes={**shared, **card_attributes(handle), "mig": Quantity(value=False)},
            minor=ask(pynvml.nvmlDeviceGetMinorNumber, handle),
            is_divided=bool(mode),
            ailment=ailment,
            is_sound=is_sound,
        )
        for instance_id, instance in instances.items():
            yield Card(
                id=instance_id,
                model=ask(pynvml.nvmlDeviceGetName, instance) or f"{model} MIG",
                pci_bus_id=pci,
                attributes={**shared, **instance_attributes(instance), "mig": Quantity(value=True)},
                parent_id=id_,
                instance=(
                    pynvml.nvmlDeviceGetGpuInstanceId(instance),
                    pynvml.nvmlDeviceGetComputeInstanceId(instance),
                ),
                ailment=ailment,
                is_sound=is_sound,
            )
    except CardLost as lost:
        log.warning("the card %s does not answer: %s", id_, lost)


def _ask_bus(handle: Handle) -> str:
    with contextlib.suppress(CardLost):
        info = ask(pynvml.nvmlDeviceGetPciInfo, handle)
        if info is not None:
            return str(info.busId.decode() if isinstance(info.busId, bytes) else info.busId)
    return ""


def _address(handle: Handle) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _card_error(event: Any, card_id: str) -> CardError | None:  # noqa: ANN401 - pynvml's
    """What an event tells of a card, if it is the card's fault."""
    if event.eventType == pynvml.nvmlEventTypeXidCriticalError:
        if event.eventData in _APPLICATION_XIDS:
            return None
        what = f"XID {event.eventData}"
    else:
        what = "an ECC error of two bits"
    instance = (event.gpuInstanceId, event.computeInstanceId)
    whole = _WHOLE_CARD in instance
    return CardError(card_id=card_id, instance=None if whole else instance, what=what)
