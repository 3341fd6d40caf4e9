from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rock.wire.errors import CommandFailed
from rocklet.actions import Call
from rocklet.envhost.process import HostEnded, HostProcess
from rocklet.processes import Children
from rocklet.surroundings import Surroundings
from tests.gems import need_gem

pytestmark = pytest.mark.slow

HOME = Surroundings(env={"PATH": os.environ["PATH"]}, cwd="/")


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    made = Children(adopt=False)
    yield made
    await made.end_all()


async def test_a_host_answers_until_it_is_ended(children: Children) -> None:
    host = HostProcess(need_gem(), children, HOME)
    assert "game:Sokoban-v0-easy" in (await host.ask({"op": "list"}, Call("1"), 60))["env_ids"]
    assert not host.has_ended
    await host.end()
    assert host.has_ended


async def test_a_python_without_gem_answers_that(children: Children) -> None:
    host = HostProcess(sys.executable, children, HOME)
    assert await host.ask({"op": "list"}, Call("1"), 60) == {"error": {"kind": "no_gem"}}
    await host.end()


async def test_a_host_that_cannot_begin_says_why(children: Children, tmp_path: Path) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    broken.chmod(0o755)
    host = HostProcess(str(broken), children, HOME)
    with pytest.raises(HostEnded) as raised:
        await host.ask({"op": "list"}, Call("1"), 60)
    assert (raised.value.why, raised.value.exit_code, raised.value.stderr) == ("exited", 1, "broken\n")


async def test_a_host_whose_time_is_up_is_killed(children: Children) -> None:
    host = HostProcess(need_gem(), children, HOME)
    with pytest.raises(HostEnded) as raised:
        await host.ask({"op": "list"}, Call("1"), 0.01)  # importing takes longer
    assert (raised.value.why, raised.value.exit_code) == ("timed_out", 128 + signal.SIGKILL)


async def test_a_host_that_nobody_waits_for_is_killed(children: Children) -> None:
    host, call = HostProcess(need_gem(), children, HOME), Call("1")
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(_ask(host, call))
        tasks.create_task(_cancel(call))
    assert asking.result() == "canceled"


async def _ask(host: HostProcess, call: Call) -> str:
    with pytest.raises(HostEnded) as raised:
        await host.ask({"op": "list"}, call, None)
    return str(raised.value.why)


async def _cancel(call: Call) -> None:
    call.cancel()


async def test_a_python_that_is_none_cannot_be_started(children: Children) -> None:
    with pytest.raises(CommandFailed):
        HostProcess("/nowhere/python", children, HOME)
