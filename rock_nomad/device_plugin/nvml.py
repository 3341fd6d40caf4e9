"""All we ask of NVIDIA's driver.  Nothing else knows pynvml.

Every question may be beyond a card, or a driver; then there is simply no answer.  A card that has fallen off its bus
answers nothing, and says so.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import pynvml

from rock_nomad.device_plugin.devices import GroupStatistics, Quantity, Statistic

__all__ = ["Card", "CardError", "DriverFailed", "DriverMissing", "Nvml"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Handle = Any  # an opaque pointer of the driver's

_LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
_NO_DRIVER = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
_WHOLE_CARD = 0xFFFFFFFF  # an event's instance, if it is of no single one
_EVENTS = pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeDoubleBitEccError

_APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Errors that a program's own fault brings about, on a card that is well.

Source: NVIDIA/k8s-device-plugin internal/rm/health.go.
"""

_RECOVERY_ACTIONS = {
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "a reset of the card",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "a reboot of the node",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_P2P: "that peer-to-peer traffic be drained",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "that it be drained and reset",
}

_LANE_MB_PER_S = {1: 250, 2: 500, 3: 985, 4: 1969, 5: 3938, 6: 7563}
"""By generation of PCI Express."""


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
        self._watched: frozenset[str] = frozenset()

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
                if (error := _card_error(event)) is not None:
                    return error
        return None

    def statistics(self) -> list[GroupStatistics]:
        """What can be measured of every card and instance.  Raises DriverMissing, DriverFailed."""
        measured: dict[str, dict[str, Mapping[str, Statistic]]] = {}
        with self._opened():
            for id_, handle in _handles():
                with contextlib.suppress(_CardLost):
                    for one_id, one in {id_: handle, **_instances(handle)}.items():
                        measured.setdefault(pynvml.nvmlDeviceGetName(one), {})[one_id] = _measure(one)
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
        self._watched, self._events = frozenset(), None
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _watch(self, handles: Mapping[str, _Handle]) -> None:
        """Have the driver report the errors of these cards."""
        if handles.keys() == self._watched:
            return
        if self._events is not None:
            pynvml.nvmlEventSetFree(self._events)
        self._events, self._watched = pynvml.nvmlEventSetCreate(), frozenset(handles)
        for id_, handle in handles.items():
            try:
                known = pynvml.nvmlDeviceGetSupportedEventTypes(handle)
                pynvml.nvmlDeviceRegisterEvents(handle, _EVENTS & known, self._events)
            except pynvml.NVMLError as error:
                log.warning("the errors of %s cannot be watched: %s", id_, error)


class _CardLost(Exception):
    """A card answers nothing more."""


def _ask(question: Callable[..., _T], *arguments: Any) -> _T | None:  # noqa: ANN401 - pynvml's
    """An answer, or None if the card or the driver knows none.  Raises _CardLost."""
    try:
        return question(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _LOST:
            raise _CardLost(str(error)) from error
        return None


def _handles() -> Iterator[tuple[str, _Handle]]:
    """The cards that can be asked, by id."""
    for index in range(pynvml.nvmlDeviceGetCount()):
        with contextlib.suppress(_CardLost):
            handle = _ask(pynvml.nvmlDeviceGetHandleByIndex, index)
            if handle is not None and (id_ := _ask(pynvml.nvmlDeviceGetUUID, handle)):
                yield id_, handle


def _instances(card: _Handle) -> dict[str, _Handle]:
    """A card's instances, by id; none if it is not divided."""
    current, _pending = _ask(pynvml.nvmlDeviceGetMigMode, card) or (0, 0)
    if not current:
        return {}
    slots = range(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, card) or 0)
    found = [_ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, card, slot) for slot in slots]
    return {pynvml.nvmlDeviceGetUUID(handle): handle for handle in found if handle is not None}


def _describe(id_: str, handle: _Handle, shared: Mapping[str, Quantity]) -> Iterator[Card]:
    """A card, and the instances it is divided into."""
    pci = _ask_bus(handle)
    try:
        model = _ask(pynvml.nvmlDeviceGetName, handle) or "unknown"
        ailment, is_sound = _examine(handle)
        instances = _instances(handle)
        mode, _pending = _ask(pynvml.nvmlDeviceGetMigMode, handle) or (0, 0)
        yield Card(
            id=id_,
            model=model,
            pci_bus_id=pci,
            attributes={**shared, **_card_attributes(handle), "mig": Quantity(value=False)},
            minor=_ask(pynvml.nvmlDeviceGetMinorNumber, handle),
            is_divided=bool(mode),
            ailment=ailment,
            is_sound=is_sound,
        )
        for instance_id, instance in instances.items():
            yield Card(
                id=instance_id,
                model=_ask(pynvml.nvmlDeviceGetName, instance) or f"{model} MIG",
                pci_bus_id=pci,
                attributes={**shared, **_memory_attribute(instance), "mig": Quantity(value=True)},
                parent_id=id_,
                instance=(
                    pynvml.nvmlDeviceGetGpuInstanceId(instance),
                    pynvml.nvmlDeviceGetComputeInstanceId(instance),
                ),
                ailment=ailment,
                is_sound=is_sound,
            )
    except _CardLost as lost:
        log.warning("the card %s does not answer: %s", id_, lost)


def _ask_bus(handle: _Handle) -> str:
    with contextlib.suppress(_CardLost):
        info = _ask(pynvml.nvmlDeviceGetPciInfo, handle)
        if info is not None:
            return str(info.busId.decode() if isinstance(info.busId, bytes) else info.busId)
    return ""


def _examine(handle: _Handle) -> tuple[str, bool]:
    """What is wrong with a card, if anything; and whether the driver says that nothing need be done about it."""
    remapped = _ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    if remapped is not None and remapped[3]:
        return "a row of its memory could not be remapped", False
    answers = _ask(pynvml.nvmlDeviceGetFieldValues, handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    if answers is None or answers[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return "", False
    action = answers[0].value.uiVal
    if action == pynvml.NVML_GPU_RECOVERY_ACTION_NONE:
        return "", True
    return f"the driver asks for {_RECOVERY_ACTIONS.get(action, f'recovery action {action}')}", False


def _card_attributes(handle: _Handle) -> dict[str, Quantity]:
    """What is lasting about a card, under the names that HashiCorp's plugin uses, and `compute`."""
    found = _memory_attribute(handle)
    for name, question, *arguments in (
        ("cores_clock", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_GRAPHICS),
        ("memory_clock", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_MEM),
    ):
        if clock := _ask(question, handle, *arguments):
            found[name] = Quantity(clock, "MHz")
    if power := _ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle):
        found["power"] = Quantity(power // 1000, "W")
    if bar1 := _ask(pynvml.nvmlDeviceGetBAR1MemoryInfo, handle):
        found["bar1"] = Quantity(bar1.bar1Total >> 20, "MiB")
    if compute := _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle):
        found["compute"] = Quantity(float(f"{compute[0]}.{compute[1]}"))
    lane = _LANE_MB_PER_S.get(_ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle) or 0)
    if lane and (lanes := _ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle)):
        found["pci_bandwidth"] = Quantity(lane * lanes, "MB/s")
    for name, question in (
        ("display_state", pynvml.nvmlDeviceGetDisplayMode),
        ("persistence_mode", pynvml.nvmlDeviceGetPersistenceMode),
    ):
        if (is_on := _ask(question, handle)) is not None:
            found[name] = Quantity("Enabled" if is_on else "Disabled")
    return found


def _memory_attribute(handle: _Handle) -> dict[str, Quantity]:
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return {} if memory is None else {"memory": Quantity(memory.total >> 20, "MiB")}


def _measure(handle: _Handle) -> dict[str, Statistic]:
    """What can be measured, under the names that HashiCorp's plugin uses."""
    found = {}
    if (memory := _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)) is not None:
        used, total = memory.used >> 20, memory.total >> 20
        found[GroupStatistics.SUMMARY] = Statistic(value=used, limit=total, unit="MiB", description="used, of all")
    if (busy := _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)) is not None:
        found["GPU utilization"] = Statistic(value=busy.gpu, unit="%", description="time with a kernel running")
        found["Memory utilization"] = Statistic(value=busy.memory, unit="%", description="time in use")
    for name, question in (
        ("Encoder utilization", pynvml.nvmlDeviceGetEncoderUtilization),
        ("Decoder utilization", pynvml.nvmlDeviceGetDecoderUtilization),
    ):
        if (sampled := _ask(question, handle)) is not None:
            found[name] = Statistic(value=sampled[0], unit="%")
    if (power := _ask(pynvml.nvmlDeviceGetPowerUsage, handle)) is not None:
        limit = _ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
        watts = None if limit is None else limit // 1000
        found["Power usage"] = Statistic(value=power // 1000, limit=watts, unit="W", description="now, of the limit")
    if (degrees := _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)) is not None:
        found["Temperature"] = Statistic(value=degrees, unit="C", description="of the chip")
    kinds = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
    if (errors := _ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, *kinds)) is not None:
        description = "that could not be corrected, since the driver was loaded"
        found["ECC memory errors"] = Statistic(value=errors, unit="#", description=description)
    return found


def _card_error(event: Any) -> CardError | None:  # noqa: ANN401 - pynvml's
    """What an event tells of a card, if it is the card's fault."""
    if event.eventType == pynvml.nvmlEventTypeXidCriticalError:
        if event.eventData in _APPLICATION_XIDS:
            return None
        what = f"XID {event.eventData}"
    else:
        what = "an ECC error of two bits"
    instance = (event.gpuInstanceId, event.computeInstanceId)
    whole = _WHOLE_CARD in instance
    return CardError(card_id=pynvml.nvmlDeviceGetUUID(event.device), instance=None if whole else instance, what=what)
