"""`bench`: what calls of a sandbox cost from here, by each way that leads to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

import aiohttp
import msgspec
import typer
from rich.table import Table

from rock._gateway import Gateway
from rock.sdk.sandbox.client import Sandbox
from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.errors import GatewayUnreachable
from rock.wire.operations import Operation
from rock_nomad.bench.calls import Server
from rock_nomad.bench.load import ROUNDS, Measured, Subject, measure
from rock_nomad.cli.options import SandboxArgument, connect
from rock_nomad.cli.output import Format, FormatOption, Progress, out, print_json, say

__all__ = ["COMMANDS"]

_CROWDS = (1, 8, 32)  # sessions
_TEXT = "x" * 1_000_000
_ROUND_SECONDS = 0.25
_CALLS = 1000  # at most, in a round
_REACH_TIMEOUT = 2.0  # seconds for a rocklet to answer


@dataclass(frozen=True, kw_only=True)
class _Case:
    title: str
    sessions: int
    subjects: Sequence[Subject]


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a case costs by one way: medians of the rounds."""

    what: str
    way: str
    sessions: int
    p50_ms: float
    rounds_ms: tuple[float, float]
    """The medians of the quickest and of the slowest round."""
    p99_ms: float
    calls_per_second: float
    client_cpu_ms: float
    """A call's mean."""


async def bench(
    sandbox: SandboxArgument,
    *,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured: the spread is theirs.")] = ROUNDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Measure what calls of a sandbox cost from here: straight to its rocklet, through the gateway, by the client.

    It uses sessions of its own, and up to a CPU of the sandbox, for half a minute.
    """
    gateway = connect()
    client = Sandbox()
    await client.attach(sandbox)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            ways = await _find_ways(gateway, sandbox, http)
            async with _sessions(ways["gateway"]):
                rows = [row async for row in _measure(_cases(ways, client), rounds)]
    except aiohttp.ClientError as error:
        raise GatewayUnreachable(f"the connection was lost while it was measured: {error}; try again") from error
    _print(rows, output)


async def _find_ways(gateway: Gateway, sandbox: str, http: aiohttp.ClientSession) -> dict[str, Server]:
    endpoint = await gateway.call(op.RESOLVE_ROCKLET, m.Empty(), sandbox_id=sandbox)
    direct = Server(http=http, url=endpoint.url, token=endpoint.token)
    address = gateway.address
    through = Server(http=http, url=address.url, token=address.api_key or "", sandbox_id=sandbox)
    if await _answers(direct):
        return {"direct": direct, "gateway": through}
    say(f"note: its rocklet cannot be reached from here at {endpoint.url}; the client goes through the gateway")
    return {"gateway": through}


async def _measure(cases: Iterable[_Case], rounds: int) -> AsyncIterator[_Row]:
    with Progress() as progress:
        for case in cases:
            progress.show(f"measuring: {case.title}")
            for measured in await measure(
                case.subjects, calls=_CALLS, sessions=case.sessions, rounds=rounds, round_seconds=_ROUND_SECONDS
            ):
                yield _row(case, measured)


async def _answers(server: Server) -> bool:
    try:
        async with asyncio.timeout(_REACH_TIMEOUT):
            await server.ask(op.IS_ALIVE, m.Empty())
    except (aiohttp.ClientError, TimeoutError):
        return False
    return True


@contextlib.asynccontextmanager
async def _sessions(server: Server) -> AsyncIterator[None]:
    """Sessions for the largest crowd; nothing of them is left, nor of the file."""
    try:
        for number in range(max(_CROWDS)):
            await server.ask(op.CREATE_SESSION, m.CreateSessionRequest(session=_session(number), on_existing="keep"))
        yield
    finally:
        for each in (await server.ask(op.LIST_SESSIONS, m.Empty())).sessions:
            if each.session.startswith(_session("")):
                await server.ask(op.CLOSE_SESSION, m.SessionRequest(session=each.session))
        await server.ask(op.EXECUTE, m.ExecuteRequest(command=["rm", "-f", _file(server)]))


def _session(number: int | str) -> str:
    return f"rock-nomad-bench-{number}"


def _file(gateway: Server) -> str:
    """A file for each sandbox: those without an image share their node's /tmp."""
    return f"/tmp/rock-nomad-bench-{gateway.sandbox_id}"  # noqa: S108 - in the sandbox


def _cases(ways: Mapping[str, Server], client: Sandbox) -> Iterator[_Case]:
    sdk = Subject(name="client", call=lambda number: client.arun(cmd="echo hi", session=_session(number)))
    runs = [*(_runs(way, server) for way, server in ways.items()), sdk]
    for sessions in _CROWDS:
        yield _Case(title="command", sessions=sessions, subjects=runs)
    file = _file(ways["gateway"])
    others: list[tuple[str, Operation[Any, Any], msgspec.Struct]] = [
        ("execute true", op.EXECUTE, m.ExecuteRequest(command=["true"])),
        ("write 1 MB", op.WRITE_FILE, m.WriteFileRequest(path=file, content=_TEXT)),
        ("read 1 MB", op.READ_FILE, m.ReadFileRequest(path=file)),
    ]
    for title, operation, request in others:
        subjects = [_call(way, server, operation, request) for way, server in ways.items()]
        yield _Case(title=title, sessions=1, subjects=subjects)


def _runs(way: str, server: Server) -> Subject:
    calls = [
        server.prepare(op.RUN_IN_SESSION, m.RunRequest(command="echo hi", session=_session(number)))
        for number in range(max(_CROWDS))
    ]
    return Subject(name=way, call=lambda number: calls[number]())


def _call(way: str, server: Server, operation: Operation[Any, Any], request: msgspec.Struct) -> Subject:
    call = server.prepare(operation, request)
    return Subject(name=way, call=lambda _: call())


def _row(case: _Case, measured: Measured) -> _Row:
    low, high = measured.spread(attrgetter("p50"))
    return _Row(
        what=case.title,
        way=measured.name,
        sessions=case.sessions,
        p50_ms=measured.median(attrgetter("p50")) * 1e3,
        rounds_ms=(low * 1e3, high * 1e3),
        p99_ms=measured.median(attrgetter("p99")) * 1e3,
        calls_per_second=measured.median(attrgetter("rate")),
        client_cpu_ms=measured.mean(attrgetter("client_cpu")) * 1e3,
    )


def _print(rows: Sequence[_Row], form: Format) -> None:
    if form is Format.JSON:
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("what", "way", "sessions", "ms", "of rounds", "p99 ms", "calls/s", "CPU ms here"):
        table.add_column(column, justify="left" if column in {"what", "way"} else "right", no_wrap=True)
    for row in rows:
        low, high = row.rounds_ms
        spread, rate = f"{low:.2f}-{high:.2f}", f"{row.calls_per_second:.0f}"
        figures = (f"{row.p50_ms:.2f}", spread, f"{row.p99_ms:.2f}", rate, f"{row.client_cpu_ms:.2f}")
        table.add_row(row.what, row.way, str(row.sessions), *figures)
    out.print(table)


COMMANDS = (bench,)
