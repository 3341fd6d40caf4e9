"""Nomad's agent, as a plugin sees it: it starts the launcher, reads the handshake and calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import msgspec

from rock_nomad.device_plugin import messages as m
from rock_nomad.device_plugin.protobuf import Message, decode, encode

__all__ = ["COOKIE", "Agent", "start_plugin"]

COOKIE = {"NOMAD_PLUGIN_MAGIC_COOKIE": "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255"}
_TIMEOUT = 120.0  # seconds

_Answer = TypeVar("_Answer", bound=Message)


class Agent:
    """A running plugin, and calls of it."""

    def __init__(self, process: subprocess.Popen[str], handshake: str) -> None:
        self.process = process
        self.handshake = handshake
        self.socket = Path(handshake.split("|")[3])
        self._channel = grpc.insecure_channel(f"unix:{self.socket}")

    def info(self) -> m.PluginInfoResponse:
        """Ask what it is."""
        return self._call(f"{_BASE}/PluginInfo", m.Empty(), m.PluginInfoResponse)

    def schema(self) -> m.ConfigSchemaResponse:
        """Ask what it can be told."""
        return self._call(f"{_BASE}/ConfigSchema", m.Empty(), m.ConfigSchemaResponse)

    def configure(self, **config: object) -> None:
        """Tell it."""
        request = m.SetConfigRequest(msgpack_config=msgspec.msgpack.encode(config), plugin_api_version="v0.1.0")
        self._call(f"{_BASE}/SetConfig", request, m.Empty)

    def reserve(self, *ids: str) -> m.ContainerReservation:
        """Reserve devices."""
        answer = self._call(f"{_DEVICE}/Reserve", m.ReserveRequest(device_ids=list(ids)), m.ReserveResponse)
        assert answer.container_res is not None
        return answer.container_res

    def fingerprint(self) -> Iterator[m.FingerprintResponse]:
        """Follow its devices."""
        return self._stream(f"{_DEVICE}/Fingerprint", m.Empty(), m.FingerprintResponse)

    def statistics(self, *, every: float) -> Iterator[m.StatsResponse]:
        """Follow its statistics."""
        request = m.StatsRequest(collection_interval=m.Time(nanos=int(every * 1e9)))
        return self._stream(f"{_DEVICE}/Stats", request, m.StatsResponse)

    def shut_down(self) -> None:
        """Tell it to end."""
        self._call("plugin.GRPCController/Shutdown", m.Empty(), m.Empty)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _call(self, path: str, request: Message, answer: type[_Answer]) -> _Answer:
        call: Callable[..., _Answer] = self._channel.unary_unary(
            f"/{path}", request_serializer=encode, response_deserializer=decode(answer)
        )
        return call(request, timeout=_TIMEOUT)

    def _stream(self, path: str, request: Message, answer: type[_Answer]) -> Iterator[_Answer]:
        call = self._channel.unary_stream(f"/{path}", request_serializer=encode, response_deserializer=decode(answer))
        answers: Iterator[_Answer] = iter(call(request, timeout=_TIMEOUT))
        return answers


_BASE = "hashicorp.nomad.plugins.base.proto.BasePlugin"
_DEVICE = "hashicorp.nomad.plugins.device.DevicePlugin"


@contextmanager
def start_plugin(folder: Path, program: Path | None = None) -> Iterator[Agent]:
    """A plugin of this Python's, or a program's, with a directory of its own for sockets; killed at the end."""
    command = [str(program)] if program else [sys.executable, "-c", _PROGRAM]
    environment: Mapping[str, str] = {**os.environ, **COOKIE, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        agent = Agent(process, process.stdout.readline())
        try:
            yield agent
        finally:
            agent.close()
            process.kill()


_PROGRAM = "from rock_nomad.device_plugin.process import main; main()"
