"""Who is called: the floors, ours by each way, the peers; as subjects of the load generator."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from typing import Any

import msgspec
from yarl import URL

from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.operations import Operation
from rock.wire.spec import SandboxSpec
from rock_nomad.bench.calls import send
from rock_nomad.bench.load import Subject
from tests.bench.floors import BarePty, spawn_true
from tests.bench.programs import Program, Running
from tests.bench.stage import Stage, session_name
from tests.bench.usage import Memory, read_children_cpu, read_cpu, read_memory

__all__ = ["Subjects"]

_SPEC = SandboxSpec(cpus=0.05, memory_bytes=64 * 2**20, disk_bytes=16 * 2**20, idle_timeout=600)
_ECHO = "echo hi"


@dataclass(frozen=True, kw_only=True)
class Subjects:
    """Makes the subjects of a stage."""

    stage: Stage
    memory: dict[str, list[Memory]] = field(default_factory=dict)
    """By program: what each one that was started held after its first command."""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    # --------------------------------------------------------------------------------------------------- floors

    def echo(self, body: bytes = b"{}", *, answer_bytes: int | None = None) -> Subject:
        """The bare server, which answers the body, or so many bytes."""
        query = "" if answer_bytes is None else f"?bytes={answer_bytes}"
        return self._bare("echo", "bare", self.stage.bare, lambda _: f"/{query}", body)

    def proxied_echo(self) -> Subject:
        """The same behind the bare proxy."""
        return self._bare("proxied echo", "proxy", self.stage.proxy, lambda _: "/", b"{}")

    def bare_runs(self) -> Subject:
        """The bare server, which has a bash of each session run a command."""
        return self._bare("bare server", "bare", self.stage.bare, _run_path, _ECHO.encode())

    def proxied_runs(self) -> Subject:
        """The same behind the bare proxy."""
        return self._bare("bare server and proxy", "proxy", self.stage.proxy, _run_path, _ECHO.encode())

    def pty(self, command: str = _ECHO) -> Subject:
        """A bash on a bare PTY."""
        pty = self.stage.pty
        return Subject(name="pty", call=lambda _: pty.run(command), server_cpu=partial(read_cpu, pty.pid))

    def spawn(self) -> Subject:
        """A bare posix_spawn of `true`."""

        async def spawn(_: int) -> None:
            spawn_true()

        return Subject(name="posix_spawn", call=spawn, server_cpu=read_children_cpu)

    def bashes(self, count: int) -> Subject:
        """So many bashes that are started at once, each until it answers."""
        started: list[BarePty] = []

        async def start(_: int) -> None:
            started.extend(BarePty() for _ in range(count))
            await asyncio.gather(*(bash.run(":") for bash in started))

        async def end(_: int) -> None:
            while started:
                started.pop().close()

        return Subject(name="bash", call=start, undo=end)

    def _bare(self, name: str, pids: str, server: Running, path: Callable[[int], str], body: bytes) -> Subject:
        async def call(session: int) -> None:
            headers = {"Content-Type": "application/json"}
            status, answer = await send(self.stage.http, "POST", URL(server.url + path(session)), body, headers)
            assert status == 200, answer

        return Subject(name=name, call=call, server_cpu=self._cpu(pids))

    # ----------------------------------------------------------------------------------------------------- ours

    def direct(self, operation: Operation[Any, Any], request: msgspec.Struct, body: bytes = b"") -> Subject:
        """A call of the rocklet."""
        call = self.stage.rocklet.prepare(operation, request, body)
        return Subject(name="direct", call=lambda _: call(), server_cpu=self._cpu("direct"))

    def gateway(self, operation: Operation[Any, Any], request: msgspec.Struct) -> Subject:
        """The same through the gateway."""
        call = self.stage.gateway.prepare(operation, request)
        return Subject(name="gateway", call=lambda _: call(), server_cpu=self._cpu("gateway"))

    def direct_runs(self, command: str = _ECHO) -> Subject:
        """A command in each session, straight to the rocklet."""
        return self._runs("direct", command)

    def gateway_runs(self) -> Subject:
        """The same through the gateway."""
        return self._runs("gateway", _ECHO)

    def sdk_runs(self) -> Subject:
        """The same by the client that users have."""
        sandbox = self.stage.sandbox
        return Subject(
            name="SDK",
            call=lambda session: sandbox.arun(cmd=_ECHO, session=session_name(session)),
            server_cpu=self._cpu("SDK"),
        )

    def direct_creates(self, count: int) -> Subject:
        """So many sessions that are created at once."""
        rocklet = self.stage.rocklet

        async def close(name: str) -> None:
            await rocklet.ask(op.CLOSE_SESSION, m.SessionRequest(session=name))

        async def create(name: str) -> None:
            await rocklet.ask(op.CREATE_SESSION, m.CreateSessionRequest(session=name))

        return self._creates("direct", count, create, close)

    def sandboxes(self) -> Subject:
        """A sandbox, through the gateway, until it answers."""
        gateway = self.stage.gateway
        ids: list[str] = []

        async def create(_: int) -> None:
            status = await gateway.ask(op.CREATE_SANDBOX, m.CreateSandboxRequest(spec=_SPEC, hold=20))
            ids.append(status.sandbox_id)

        async def stop(_: int) -> None:
            await dataclasses.replace(gateway, sandbox_id=ids.pop()).ask(op.STOP_SANDBOX, m.Empty())

        return Subject(name="gateway", call=create, undo=stop)

    def _runs(self, way: str, command: str) -> Subject:
        server = self.stage.gateway if way == "gateway" else self.stage.rocklet
        calls = [
            server.prepare(op.RUN_IN_SESSION, m.RunRequest(command=command, session=session_name(session)))
            for session in range(self.stage.sessions)
        ]
        return Subject(name=way, call=lambda session: calls[session](), server_cpu=self._cpu(way))

    # ---------------------------------------------------------------------------------------------------- peers

    def peers(self, method: str, *arguments: object) -> list[Subject]:
        """A call of each peer, by the name of its client's method."""
        call = methodcaller(method, *arguments)
        return [
            Subject(name=name, call=lambda _, peer=peer: call(peer), server_cpu=self._cpu(name))  # type: ignore[misc]
            for name, peer in self.stage.peers.items()
        ]

    def peer_runs(self, command: str = _ECHO) -> list[Subject]:
        """A command in each session of each peer."""
        return [
            Subject(
                name=name,
                call=lambda session, peer=peer: peer.run(command, session_name(session)),  # type: ignore[misc]
                server_cpu=self._cpu(name),
            )
            for name, peer in self.stage.peers.items()
        ]

    def peer_creates(self, count: int) -> list[Subject]:
        """So many sessions of each peer that are created at once."""
        return [self._creates(name, count, peer.create, peer.close) for name, peer in self.stage.peers.items()]

    # ------------------------------------------------------------------------------------------------ programs

    def starts(self) -> list[Subject]:
        """Each program that can be started, until its first command is answered."""
        return [self._start(program) for program in self.stage.programs]

    def _start(self, program: Program) -> Subject:
        running: list[tuple[AsyncExitStack, Running]] = []

        async def start(_: int) -> None:
            stack = AsyncExitStack()
            server = await stack.enter_async_context(program.start())
            running.append((stack, server))
            await program.first_command(server.url)

        async def end(_: int) -> None:
            while running:
                stack, server = running.pop()
                self.memory.setdefault(program.name, []).append(read_memory(server.pid))
                await stack.aclose()

        return Subject(name=program.name, call=start, undo=end)

    def _creates(self, name: str, count: int, create: _OfSession, close: _OfSession) -> Subject:
        made: list[str] = []

        async def create_all(_: int) -> None:
            made.extend(f"made-{next(self._numbers)}" for _ in range(count))
            await asyncio.gather(*map(create, made))

        async def close_all(_: int) -> None:
            await asyncio.gather(*map(close, made))
            made.clear()

        return Subject(name=name, call=create_all, undo=close_all, server_cpu=self._cpu(name))

    def _cpu(self, name: str) -> Callable[[], float]:
        return partial(read_cpu, *self.stage.pids[name])


def _run_path(session: int) -> str:
    return f"/run?session={session}"


_OfSession = Callable[[str], Awaitable[None]]
