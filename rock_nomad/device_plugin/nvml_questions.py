"""What one card, or one instance of a card, can be asked.  With nvml.py the only one that knows pynvml.

Every question may be beyond a card, or a driver; then there is simply no answer.  A card that has fallen off its bus
answers nothing, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from rock_nomad.device_plugin.devices import GroupStatistics, Quantity, Statistic

__all__ = ["CardLost", "Handle", "ask", "card_attributes", "examine", "instance_attributes", "measure"]

Handle = Any
"""A card or an instance: an opaque pointer of the driver's."""

_T = TypeVar("_T")

_LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)

_RECOVERY_ACTIONS = {
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "a reset of the card",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "a reboot of the node",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_P2P: "that peer-to-peer traffic be drained",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "that it be drained and reset",
}

_LANE_MB_PER_S = {1: 250, 2: 500, 3: 985, 4: 1969, 5: 3938, 6: 7563}
"""By generation of PCI Express."""


class CardLost(Exception):
    """A card answers nothing more."""


def ask(question: Callable[..., _T], *arguments: Any) -> _T | None:  # noqa: ANN401 - pynvml's
    """An answer, or None if the card or the driver knows none.  Raises CardLost."""
    try:
        return question(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _LOST:
            raise CardLost(str(error)) from error
        return None


def examine(handle: Handle) -> tuple[str, bool]:
    """What is wrong with a card, if anything; and whether the driver says that nothing need be done about it."""
    remapped = ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    if remapped is not None and remapped[3]:
        return "a row of its memory could not be remapped", False
    answers = ask(pynvml.nvmlDeviceGetFieldValues, handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    if answers is None or answers[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return "", False
    action = answers[0].value.uiVal
    if action == pynvml.NVML_GPU_RECOVERY_ACTION_NONE:
        return "", True
    return f"the driver asks for {_RECOVERY_ACTIONS.get(action, f'recovery action {action}')}", False


def card_attributes(handle: Handle) -> dict[str, Quantity]:
    """What is lasting about a card, under the names that HashiCorp's plugin uses, and `compute`."""
    found = instance_attributes(handle)
    for name, question, *arguments in (
        ("cores_clock", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_GRAPHICS),
        ("memory_clock", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_MEM),
    ):
        if clock := ask(question, handle, *arguments):
            found[name] = Quantity(clock, "MHz")
    if power := ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle):
        found["power"] = Quantity(power // 1000, "W")
    if bar1 := ask(pynvml.nvmlDeviceGetBAR1MemoryInfo, handle):
        found["bar1"] = Quantity(bar1.bar1Total >> 20, "MiB")
    if compute := ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle):
        found["compute"] = Quantity(float(f"{compute[0]}.{compute[1]}"))
    lane = _LANE_MB_PER_S.get(ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle) or 0)
    if lane and (lanes := ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle)):
        found["pci_bandwidth"] = Quantity(lane * lanes, "MB/s")
    for name, question in (
        ("display_state", pynvml.nvmlDeviceGetDisplayMode),
        ("persistence_mode", pynvml.nvmlDeviceGetPersistenceMode),
    ):
        if (is_on := ask(question, handle)) is not None:
            found[name] = Quantity("Enabled" if is_on else "Disabled")
    return found


def instance_attributes(handle: Handle) -> dict[str, Quantity]:
    """What is lasting about an instance, and about a card as well."""
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return {} if memory is None else {"memory": Quantity(memory.total >> 20, "MiB")}


def measure(handle: Handle) -> dict[str, Statistic]:
    """What can be measured, under the names that HashiCorp's plugin uses."""
    found = {}
    if (memory := ask(pynvml.nvmlDeviceGetMemoryInfo, handle)) is not None:
        used, total = memory.used >> 20, memory.total >> 20
        found[GroupStatistics.SUMMARY] = Statistic(value=used, limit=total, unit="MiB", description="used, of all")
    if (busy := ask(pynvml.nvmlDeviceGetUtilizationRates, handle)) is not None:
        found["GPU utilization"] = Statistic(value=busy.gpu, unit="%", description="time with a kernel running")
        found["Memory utilization"] = Statistic(value=busy.memory, unit="%", description="time in use")
    for name, question in (
        ("Encoder utilization", pynvml.nvmlDeviceGetEncoderUtilization),
        ("Decoder utilization", pynvml.nvmlDeviceGetDecoderUtilization),
    ):
        if (sampled := ask(question, handle)) is not None:
            found[name] = Statistic(value=sampled[0], unit="%")
    if (power := ask(pynvml.nvmlDeviceGetPowerUsage, handle)) is not None:
        limit = ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
        watts = None if limit is None else limit // 1000
        found["Power usage"] = Statistic(value=power // 1000, limit=watts, unit="W", description="now, of the limit")
    if (degrees := ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)) is not None:
        found["Temperature"] = Statistic(value=degrees, unit="C", description="of the chip")
    kinds = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
    if (errors := ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, *kinds)) is not None:
        description = "that could not be corrected, since the driver was loaded"
        found["ECC memory errors"] = Statistic(value=errors, unit="#", description=description)
    return found
