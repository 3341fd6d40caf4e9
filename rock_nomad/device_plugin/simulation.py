"""Simulated GPUs: for people without any, and for tests, which make them sick through a file.

The embedded cluster has them, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rock_nomad.device_plugin.devices import Device, DeviceGroup, GroupStatistics, Hardware, Quantity, Statistic

__all__ = ["Model", "SimulatedHardware", "parse_models"]

# Memory of the models people name most, in MiB, as their drivers report it; others should say it.
_MODEL_MEMORY_MIB = {
    "NVIDIA H100 80GB HBM3": 81559, "NVIDIA H200": 143771, "NVIDIA A100-SXM4-80GB": 81920, "NVIDIA A10G": 23028,
    "NVIDIA L4": 23034, "NVIDIA L40S": 46068, "Tesla T4": 15360,
}  # fmt: skip
_DEFAULT_MEMORY_MIB = 24576
_POWER_W = 700


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """So many cards of a model."""

    name: str
    count: int
    memory_mib: int


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the state file says, as JSON."""

    sick: dict[str, str] = {}
    """Device ids, and what ails each."""
    missing: list[str] = []
    """The ids of those that are as if pulled out."""


def parse_models(text: str) -> list[Model]:
    """The models of `MODEL:COUNT[:MIB],...`.

    Raises ValueError: says what is wrong with the text.
    """
    return [_parse_model(part) for part in map(str.strip, text.split(",")) if part]


def _parse_model(text: str) -> Model:
    name, _, rest = text.partition(":")
    count, _, memory = rest.partition(":")
    if not name or not count.isdecimal() or int(count) < 1 or (memory and not memory.isdecimal()):
        raise ValueError(f"simulated GPUs are MODEL:COUNT[:MIB], separated by commas; got {text!r}")
    memory_mib = int(memory) if memory else _MODEL_MEMORY_MIB.get(name, _DEFAULT_MEMORY_MIB)
    return Model(name=name, count=int(count), memory_mib=memory_mib)


class SimulatedHardware:
    """Cards that are made up, with ids GPU-simulated-<model's number>-<card's number>."""

    # NVIDIA_VISIBLE_DEVICES would make Nomad's docker driver demand NVIDIA's runtime.
    # Source: hashicorp/nomad drivers/docker/driver.go, GPURuntimeName.
    variables: Sequence[str] = ("CUDA_VISIBLE_DEVICES",)

    def __init__(self, models: Sequence[Model], state_file: Path | None = None) -> None:
        self._models = models
        self._state_file = state_file

    def groups(self) -> list[DeviceGroup]:
        """All that are not missing.

        Raises OSError, ValueError: the state file cannot be read.
        """
        state = self._read_state()
        groups = [self._group(number, model, state) for number, model in enumerate(self._models)]
        return [group for group in groups if group.devices]

    def pause(self, seconds: float) -> None:
        """Wait: a file does not call."""
        time.sleep(seconds)

    def statistics(self) -> list[GroupStatistics]:
        """Numbers that rise and fall."""
        now = time.time()
        measured = []
        for group in self.groups():
            memory_mib = int(group.attributes["memory"].value)
            devices = {device.id: _statistics(memory_mib, now + number) for number, device in enumerate(group.devices)}
            measured.append(GroupStatistics(model=group.model, devices=devices))
        return measured

    def _read_state(self) -> State:
        if self._state_file is None:
            return State()
        try:
            return msgspec.json.decode(self._state_file.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except msgspec.MsgspecError as error:
            raise ValueError(f"{self._state_file} cannot be read: {error}") from error

    def _group(self, number: int, model: Model, state: State) -> DeviceGroup:
        ids = [f"GPU-simulated-{number}-{index}" for index in range(model.count)]
        devices = [
            Device(id=each, pci_bus_id=f"00000000:{number * 16 + index:02X}:00.0", ailment=state.sick.get(each, ""))
            for index, each in enumerate(ids)
            if each not in state.missing
        ]
        attributes = {
            "memory": Quantity(model.memory_mib, "MiB"), "cores_clock": Quantity(1980, "MHz"),
            "power": Quantity(_POWER_W, "W"), "compute": Quantity(9.0), "mig": Quantity(value=False),
            "driver_version": Quantity("570.124.06"),
        }  # fmt: skip
        return DeviceGroup(model=model.name, devices=tuple(devices), attributes=attributes)


def _statistics(memory_mib: int, at: float) -> dict[str, Statistic]:
    load = 0.5 + 0.4 * math.sin(at / 10)
    return {
        GroupStatistics.SUMMARY: Statistic(value=int(load * memory_mib), limit=memory_mib, unit="MiB"),
        "GPU utilization": Statistic(value=int(load * 100), limit=100, unit="%"),
        "Power usage": Statistic(value=int(load * _POWER_W), limit=_POWER_W, unit="W"),
    }


_: type[Hardware] = SimulatedHardware
