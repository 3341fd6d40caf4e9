"""Our device plugin, failing where a file says so: a program that Nomad starts in its place.

`fault` beside the program holds a step and how it fails; what happens is told through the named pipe `told`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

from rock_nomad.device_plugin import messages as m
from rock_nomad.device_plugin.config import Config
from rock_nomad.device_plugin.devices import DeviceGroup, GroupStatistics, Hardware
from rock_nomad.device_plugin.plugin import Plugin, open_hardware
from rock_nomad.device_plugin.process import run

__all__ = ["BOOT_STEPS", "FAULT", "FOLLOWS", "HOWS", "MEASURES", "STEPS", "TOLD", "main"]

FAULT, TOLD = "fault", "told"
FOLLOWS, MEASURES = "follows", "measures"
"""What is told when the agent has the first answer of each of its two streams."""
STEPS = ("configure", "fingerprint", "reserve", "statistics", "look", "pause", "measure", "name variables")
"""Nomad's calls of a plugin that runs, and the plugin's of its hardware."""
BOOT_STEPS = ("info", "schema", "configure")
"""Nomad's calls of a plugin before its agent is up.  The last one is made again of a plugin that was started again."""
HOWS = ("raise", "exit", "hang")


class Faults:
    """What is to fail, and whom to tell."""

    def __init__(self, folder: Path) -> None:
        self._fault = folder / FAULT
        self._told = folder / TOLD

    def strike(self, step: str) -> None:
        """Fail, if it is this step's turn."""
        how = self._how(step)
        if how is None:
            return
        self.tell(f"{step} {how}")
        if how == "raise":
            raise RuntimeError(f"a fault of the test's in {step}")
        if how == "exit":
            os._exit(1)
        while self._how(step) == how:
            time.sleep(0.05)

    def tell(self, line: str) -> None:
        """Say what has happened."""
        with self._told.open("wb", buffering=0) as pipe:
            pipe.write(f"{line}\n".encode())

    def _how(self, step: str) -> str | None:
        named, _, how = self._fault.read_text().rpartition(" ")
        return how if named == step else None


class FaultyHardware:
    """Simulated cards whose every call may fail."""

    def __init__(self, config: Config, faults: Faults) -> None:
        self._inner = open_hardware(config)
        self._faults = faults

    @property
    def variables(self) -> Sequence[str]:
        self._faults.strike("name variables")
        return self._inner.variables

    def groups(self) -> list[DeviceGroup]:
        self._faults.strike("look")
        return self._inner.groups()

    def pause(self, seconds: float) -> None:
        self._faults.strike("pause")
        self._inner.pause(seconds)

    def statistics(self) -> list[GroupStatistics]:
        self._faults.strike("measure")
        return self._inner.statistics()


class FaultyPlugin(Plugin):
    """Whose every answer may fail, in ways that our own code never would."""

    def __init__(self, faults: Faults) -> None:
        def open_faulty(config: Config) -> Hardware:
            return FaultyHardware(config, faults)

        super().__init__(open_faulty)
        self._faults = faults

    def info(self, request: m.Empty, context: grpc.ServicerContext) -> m.PluginInfoResponse:
        self._faults.strike("info")
        return super().info(request, context)

    def schema(self, request: m.Empty, context: grpc.ServicerContext) -> m.ConfigSchemaResponse:
        self._faults.strike("schema")
        return super().schema(request, context)

    def configure(self, request: m.SetConfigRequest, context: grpc.ServicerContext) -> m.Empty:
        self._faults.strike("configure")
        return super().configure(request, context)

    def fingerprint(self, request: m.Empty, context: grpc.ServicerContext) -> Iterator[m.FingerprintResponse]:
        self._faults.strike("fingerprint")
        for number, response in enumerate(super().fingerprint(request, context)):
            if number == 0:
                self._faults.tell(FOLLOWS)
            yield response

    def reserve(self, request: m.ReserveRequest, context: grpc.ServicerContext) -> m.ReserveResponse:
        self._faults.strike("reserve")
        return super().reserve(request, context)

    def statistics(self, request: m.StatsRequest, context: grpc.ServicerContext) -> Iterator[m.StatsResponse]:
        self._faults.strike("statistics")
        for number, response in enumerate(super().statistics(request, context)):
            if number == 0:
                self._faults.tell(MEASURES)
            yield response


def main() -> None:
    """Serve the agent that has started this program."""
    run(FaultyPlugin(Faults(Path(sys.argv[0]).parents[1])))
