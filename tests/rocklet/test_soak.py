"""A day's work in one rocklet: it holds as much at the end as when it was warm, and has buried all its dead."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from rock.wire.messages import CreateSessionRequest
from rock.wire.operations import CREATE_SESSION, IS_ALIVE
from tests.bench.usage import read_memory
from tests.rocklet.callers import RemoteCaller
from tests.rocklets import start_rocklet

COMMANDS = int(os.environ.get("ROCK_SOAK_COMMANDS", "4000"))
"""How many there are: 200,000 are a day's work, and take a quarter of an hour."""

_SESSIONS = 64
_WARM_UP = max(2000, COMMANDS // 10)
"""Commands until all that is kept for a while (the replies of the last 1024 actions) has been filled."""
_GROWTH = 4 * 2**20  # bytes by which the memory may differ, however many commands there were
_HANG = 60.0  # seconds for one command: far beyond what any takes

_KINDS = [
    ("echo hi", "hi\n", 0),
    ("seq 200 | tail -1", "200\n", 0),
    ("cat <<< text; false", "text\n", 1),
    ("x=$(printf %s a b); echo $x", "ab\n", 0),
    ("(setsid true &); : & wait", "", 0),
    ("head -c 20000 /dev/zero | tr '\\0' x", "x" * 20_000, 0),
    ("trap 'echo trapped' USR1; kill -USR1 $$; trap - USR1", "trapped\n", 0),
]
_RARE = 101
"""One command in so many is run without a session, one runs out of time, and one takes its shell with it."""


class Footprint(NamedTuple):
    """What a rocklet holds."""

    uss: int
    """Bytes that are its own and nobody else's."""
    descriptors: int
    threads: int
    children: int
    """Processes of which it is the parent: the shells, zombies included."""
    zombies: int


def measure(pid: int) -> Footprint:
    """The footprint of a rocklet in which nothing runs."""
    process = Path(f"/proc/{pid}")
    children = (process / "task" / str(pid) / "children").read_text().split()
    return Footprint(
        uss=read_memory(pid).uss,
        descriptors=len(os.listdir(process / "fd")),
        threads=len(os.listdir(process / "task")),
        children=len(children),
        zombies=sum("State:\tZ" in Path(f"/proc/{child}/status").read_text() for child in children),
    )


async def settle(caller: RemoteCaller, pid: int) -> Footprint:
    """The footprint once the last commands' orphans are buried, which nothing but their end is to bring about."""
    async with asyncio.timeout(_HANG):
        while (found := measure(pid)).zombies:
            await caller.call(IS_ALIVE)
    return found


async def work(caller: RemoteCaller, session: int, commands: range) -> None:
    """Run a session's part of the commands, one after the other."""
    for number in commands[session::_SESSIONS]:
        async with asyncio.timeout(_HANG):
            await run_one(caller, str(session), number)


async def run_one(caller: RemoteCaller, session: str, number: int) -> None:
    """Run the command of that number."""
    request_id = f"soak-{number}"
    kind = number % _RARE
    if kind == 0:
        done = await caller.execute("echo alone", request_id=request_id)
        assert (done.stdout, done.exit_code) == ("alone\n", 0)
    elif kind == 1:
        late = await caller.run("sleep 300", session=session, timeout=0.05, request_id=request_id)
        assert late.timed_out
    elif kind == 2:
        last = await caller.run("echo last; exit 7", session=session, request_id=request_id)
        assert (last.output, last.exit_code, last.shell_restarted) == ("last\nexit\n", 7, True)
    else:
        command, output, exit_code = _KINDS[number % len(_KINDS)]
        seen = await caller.run(command, session=session, request_id=request_id)
        assert (seen.output.endswith(output), seen.exit_code) == (True, exit_code), (command, seen)


@pytest.fixture
async def rocklet() -> AsyncIterator[tuple[RemoteCaller, int]]:
    """A rocklet of its own, as a job starts it, with its sessions; and its pid."""
    async with start_rocklet() as (url, token, process):
        headers = {"Authorization": f"Bearer {token}"}
        connector = aiohttp.TCPConnector(limit=_SESSIONS)
        async with aiohttp.ClientSession(url, headers=headers, connector=connector) as http:
            caller = RemoteCaller(http)
            for number in range(_SESSIONS):
                await caller.call(CREATE_SESSION, CreateSessionRequest(session=str(number), startup_timeout=60.0))
            yield caller, process.pid


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_a_days_commands_leave_no_trace(rocklet: tuple[RemoteCaller, int]) -> None:
    caller, pid = rocklet
    footprints = []
    for commands in (range(_WARM_UP), range(_WARM_UP, _WARM_UP + COMMANDS)):
        async with asyncio.TaskGroup() as working:
            for session in range(_SESSIONS):
                working.create_task(work(caller, session, commands))
        footprints.append(await settle(caller, pid))
    warm, worn = footprints
    print(f"{COMMANDS} commands after a warm-up of {_WARM_UP}: {warm} -> {worn}")
    assert (worn.children, worn.descriptors) == (warm.children, warm.descriptors)
    assert worn.threads <= warm.threads
    assert worn.uss < warm.uss + _GROWTH
