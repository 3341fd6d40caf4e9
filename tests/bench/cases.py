"""What is measured: each of our calls, and the floor it is held against."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from rock._gateway import Gateway
from rock.sdk.sandbox.client import Sandbox
from rock.wire import codec
from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.operations import REQUEST_ID_HEADER, Operation
from rock.wire.spec import SandboxSpec
from rock_nomad.bundle import bundle_command
from tests.bench.floors import BarePty
from tests.bench.measure import Action
from tests.rocklets import read_port, rocklet_environment

__all__ = ["Bench", "Case"]

_SESSION = "bench"
_FIVE_MB = "head -c 5000000 /dev/zero | tr '\\0' x"
_MEGABYTE = 1_000_000
_SPEC = SandboxSpec(cpus=0.05, memory_bytes=64 * 2**20, disk_bytes=16 * 2**20, idle_timeout=600)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison: floors that add up, and what of ours is held against their sum."""

    title: str
    floors: Mapping[str, Action]
    ours: Mapping[str, Action]
    calls: int
    """In each round."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A running cluster, a sandbox in it, and the floors beside it."""

    http: aiohttp.ClientSession
    gateway: Gateway
    sandbox: Sandbox
    endpoint: m.RockletEndpoint
    echo_url: str
    pty: BarePty
    bundle: Path

    def cases(self) -> list[Case]:
        """Everything that is measured."""
        echo, bare = {"echo": self._echo(b"{}")}, {"pty": lambda: self.pty.run("echo hi")}
        run = m.RunRequest(command="echo hi", session=_SESSION)
        true = m.ExecuteRequest(command=["true"])
        names = (f"s{number}-{secrets.token_hex(2)}" for number in itertools.count())
        text = "x" * _MEGABYTE
        written = m.WriteFileRequest(path="/tmp/rock-bench-file", content=text)
        return [
            Case(
                title="echo hi in a session",
                floors=echo | bare,
                ours={
                    "direct": self._direct(op.RUN_IN_SESSION, run),
                    "gateway": self._through_gateway(op.RUN_IN_SESSION, run),
                    "SDK": lambda: self.sandbox.arun(cmd="echo hi", session=_SESSION),
                },
                calls=200,
            ),
            Case(
                title="execute true",
                floors=echo | {"spawn": _spawn_true},
                ours={"direct": self._direct(op.EXECUTE, true), "gateway": self._through_gateway(op.EXECUTE, true)},
                calls=100,
            ),
            Case(
                title="create a session",
                floors=echo | {"bash": _start_bash},
                ours={"direct": lambda: self._create_and_close(next(names))},
                calls=20,
            ),
            Case(
                title="5 MB of session output",
                floors={"echo": self._echo(b"{}", answer_bytes=5_000_000), "pty": lambda: self.pty.run(_FIVE_MB)},
                ours={"direct": self._direct(op.RUN_IN_SESSION, m.RunRequest(command=_FIVE_MB, session=_SESSION))},
                calls=3,
            ),
            Case(
                title="write 1 MB",
                floors={"echo": self._echo(codec.encode(written), answer_bytes=100)},
                ours={"direct": self._direct(op.WRITE_FILE, written)},
                calls=20,
            ),
            Case(
                title="read 1 MB",
                floors={"echo": self._echo(b"{}", answer_bytes=_MEGABYTE)},
                ours={"direct": self._direct(op.READ_FILE, m.ReadFileRequest(path=written.path))},
                calls=20,
            ),
            Case(
                title="start a sandbox",
                floors={"python": _start_python},
                ours={"gateway": self._start_and_stop},
                calls=3,
            ),
            Case(
                title="a rocklet's first answer",
                floors={"venv": lambda: self._start_rocklet(sys.executable, "-m", "rocklet")},
                ours={"bundle": lambda: self._start_rocklet(*bundle_command(str(self.bundle)))},
                calls=5,
            ),
        ]

    def _echo(self, body: bytes, *, answer_bytes: int | None = None) -> Action:
        url = self.echo_url if answer_bytes is None else f"{self.echo_url}?bytes={answer_bytes}"
        return lambda: self._send("POST", url, body, {})

    def _direct(self, operation: Operation[Any, Any], request: msgspec.Struct) -> Action:
        headers = {"Authorization": f"Bearer {self.endpoint.token}"}
        return self._call(f"{self.endpoint.url}{operation.path}", request, headers)

    def _through_gateway(self, operation: Operation[Any, Any], request: msgspec.Struct) -> Action:
        path = operation.gateway_path.format(sandbox_id=self.endpoint.sandbox_id)
        headers = {"Authorization": f"Bearer {self.gateway.address.api_key}"}
        return self._call(f"{self.gateway.address.url}{path}", request, headers)

    def _call(self, url: str, request: msgspec.Struct, headers: dict[str, str]) -> Action:
        body = codec.encode(request)
        return lambda: self._send("POST", url, body, {**headers, REQUEST_ID_HEADER: secrets.token_hex(8)})

    async def _send(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json", **headers}
        async with self.http.request(method, url, data=body, headers=headers) as response:
            answer = await response.read()
            assert response.status < 300, answer

    async def _create_and_close(self, name: str) -> None:
        await self._direct(op.CREATE_SESSION, m.CreateSessionRequest(session=name))()
        await self._direct(op.CLOSE_SESSION, m.SessionRequest(session=name))()

    async def _start_and_stop(self) -> None:
        status = await self.gateway.call(op.CREATE_SANDBOX, m.CreateSandboxRequest(spec=_SPEC, hold=20))
        await self.gateway.call(op.STOP_SANDBOX, m.Empty(), sandbox_id=status.sandbox_id)

    async def _start_rocklet(self, *command: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *command, "--host", "127.0.0.1", env=rocklet_environment(), stderr=asyncio.subprocess.PIPE
        )
        url = f"http://127.0.0.1:{await read_port(process)}{op.IS_ALIVE.path}"
        await self._send("GET", url, b"", {})
        process.kill()
        await process.communicate()


async def _spawn_true() -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()


async def _start_bash() -> None:
    process = await asyncio.create_subprocess_exec("bash", "--noprofile", "--norc", "-c", "true")
    await process.wait()


async def _start_python() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import aiohttp.web")
    await process.wait()
