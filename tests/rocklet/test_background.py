"""Processes in the background: who is told of their end, and when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import pytest

from rock.wire.messages import ProcessEnd, WaitProcessRequest
from rock.wire.operations import GET_CLOCKS, WAIT_PROCESS
from rocklet.background import Background
from rocklet.memory import OomCounter
from tests.rocklet.callers import Caller

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

RUNNING = ProcessEnd(has_ended=False, is_watched=True)
ENDED = ProcessEnd(has_ended=True, is_watched=True)

CHILDREN: dict[int, int] = {}
"""Children that wait, and the pipes that end them."""


def ended(exit_code: int) -> ProcessEnd:
    return ProcessEnd(has_ended=True, exit_code=exit_code, is_watched=True)


def nobody() -> asyncio.Future[None]:
    """Who never calls off."""
    return asyncio.get_running_loop().create_future()


async def wait(background: Background, pid: int, hold: float = 10.0, *, only_announced: bool = False) -> ProcessEnd:
    return await background.wait(pid, hold, nobody(), only_announced=only_announced)


@pytest.fixture
def background() -> Iterator[Background]:
    """One that reaps this process's children."""
    ooms = OomCounter()
    background = Background(lambda _: True, ooms)
    yield background
    background.close()
    ooms.close()


@pytest.fixture
def stranger() -> Iterator[Background]:
    """One whose processes have another parent."""
    ooms = OomCounter()
    background = Background(lambda _: False, ooms, limit=1)
    yield background
    background.close()
    ooms.close()


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A child that goes on until it is told to end; nobody else reaps it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os._exit(os.read(read, 1)[0])
    os.close(read)
    CHILDREN[pid] = write
    yield pid
    end(pid)


def end(pid: int, exit_code: int = 0) -> None:
    """Have a child end."""
    if (write := CHILDREN.pop(pid, None)) is not None:
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            os.write(write, bytes([exit_code]))
        os.close(write)


def see_dead(pid: int) -> None:
    """Wait until a child has ended, and leave it unreaped."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_a_waiter_is_told_the_exit_code_when_the_process_ends(background: Background, sleeper: int) -> None:
    waiting = asyncio.ensure_future(wait(background, sleeper))
    await asyncio.sleep(0)
    end(sleeper, 7)
    assert await waiting == ended(7)


async def test_several_may_wait_for_one_process(background: Background, sleeper: int) -> None:
    waiting = [asyncio.ensure_future(wait(background, sleeper)) for _ in range(3)]
    await asyncio.sleep(0)
    end(sleeper, 3)
    assert await asyncio.gather(*waiting) == [ended(3)] * 3


async def test_a_process_that_goes_on_is_said_to(background: Background, sleeper: int) -> None:
    assert await wait(background, sleeper, 0.01) == RUNNING
    end(sleeper, 2)
    assert await wait(background, sleeper) == ended(2)


async def test_an_exit_code_is_kept_for_who_asks_later(background: Background, sleeper: int) -> None:
    end(sleeper, 9)
    see_dead(sleeper)
    background.reap(sleeper)
    for _ in range(2):
        assert await wait(background, sleeper, 0) == ended(9)


async def test_a_process_that_ended_before_it_was_announced_has_its_exit_code(
    background: Background, sleeper: int
) -> None:
    end(sleeper, 6)
    see_dead(sleeper)
    background.reap(sleeper)
    background.announce("PIDSTART", f"PIDSTART{sleeper}PIDEND")
    assert await wait(background, sleeper, 0, only_announced=True) == ended(6)


async def test_a_zombie_has_ended_at_once_and_its_exit_code_is_known(background: Background, sleeper: int) -> None:
    background.announce("<", f"<{sleeper}>")
    end(sleeper, 8)
    see_dead(sleeper)
    assert await wait(background, sleeper, 0) == ended(8)


async def test_an_end_by_a_signal_is_told_as_a_shell_does(background: Background, sleeper: int) -> None:
    os.kill(sleeper, 15)
    assert await wait(background, sleeper) == ended(143)


async def test_a_foreign_process_has_ended_but_its_exit_code_is_not_known(stranger: Background) -> None:
    program = [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(4)"]
    with subprocess.Popen(program, stdin=subprocess.PIPE) as foreign:  # noqa: ASYNC220 - it waits for us
        assert await wait(stranger, foreign.pid, 0.01) == RUNNING
        assert foreign.stdin is not None
        foreign.stdin.close()
        assert await wait(stranger, foreign.pid) == ENDED
        assert foreign.wait() == 4
    assert await wait(stranger, foreign.pid) == ENDED


async def test_without_pidfds_reaping_tells(
    background: Background, sleeper: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    waiting = asyncio.ensure_future(wait(background, sleeper))
    await asyncio.sleep(0)
    end(sleeper, 5)
    see_dead(sleeper)
    background.reap(sleeper)
    assert await waiting == ended(5)


async def test_the_code_of_an_earlier_process_of_the_same_number_is_forgotten(
    background: Background, sleeper: int
) -> None:
    background._note(sleeper, 99)
    assert await wait(background, sleeper, 0.01) == RUNNING
    end(sleeper, 1)
    assert await wait(background, sleeper) == ended(1)


def test_only_so_many_exit_codes_are_kept(background: Background) -> None:
    for pid in range(10**6, 10**6 + 5000):
        background._note(pid, 0)
    assert len(background._exit_codes) == 4096


async def test_who_goes_away_waits_no_longer(background: Background, sleeper: int) -> None:
    canceled = nobody()
    canceled.set_result(None)
    assert await background.wait(sleeper, 10, canceled) == RUNNING


async def test_of_too_many_the_oldest_are_let_go_and_not_said_to_have_ended(stranger: Background, sleeper: int) -> None:
    waiting = asyncio.ensure_future(wait(stranger, sleeper, 0.05))
    await asyncio.sleep(0)
    stranger.announce("pid ", f"pid {os.getppid()}")
    assert await waiting == RUNNING
    assert list(stranger._known) == [os.getppid()]
    assert await wait(stranger, sleeper, 0) == RUNNING


async def test_what_is_no_process_is_not_there(stranger: Background) -> None:
    stranger.announce("pid ", "pid 9999999999 pid 0 pid 4294967297")
    assert not stranger._known
    assert await wait(stranger, 2**31 - 1) == ENDED
    assert await wait(stranger, 2**31 - 2, only_announced=True) == ProcessEnd(has_ended=True)


# ------------------------------------------------------------------------------------------- through the operation


async def announced(bash: Caller, command: str) -> int:
    """A background command's process id, watched since it was printed."""
    return int((await bash.run(f"{command} & echo \\<$!\\>", announces="<")).output.partition("<")[2].partition(">")[0])


@pytest.mark.slow
async def test_the_end_of_an_announced_process_is_told_when_it_comes(bash: Caller) -> None:
    pid = await announced(bash, "sleep 1")
    began = time.monotonic()
    request = WaitProcessRequest(pid=pid, hold=60, only_announced=True)
    assert (await bash.call(WAIT_PROCESS, request)).has_ended
    assert time.monotonic() - began < 30  # and not when the hold is over


@pytest.mark.slow
async def test_a_process_that_nobody_announced_is_not_waited_for_unless_that_is_wanted(bash: Caller) -> None:
    pid = int((await bash.run("sleep 4 & echo \\<$!\\>")).output.partition("<")[2].partition(">")[0])
    told = await bash.call(WAIT_PROCESS, WaitProcessRequest(pid=pid, hold=20, only_announced=True))
    assert told == ProcessEnd(has_ended=False)
    assert (await bash.call(WAIT_PROCESS, WaitProcessRequest(pid=pid, hold=20))).has_ended


@pytest.mark.slow
async def test_a_wait_holds_the_idle_clock(bash: Caller) -> None:
    pid = await announced(bash, "sleep 60")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bash.call(WAIT_PROCESS, WaitProcessRequest(pid=pid, hold=1)))
        while (await bash.call(GET_CLOCKS)).actions_in_flight == 0:
            continue
    assert waiting.result() == RUNNING


@pytest.mark.slow
async def test_a_wait_lasts_no_longer_than_a_part_of_a_short_idle_timeout(bash: Caller) -> None:
    bash.engine._settings = msgspec.structs.replace(bash.engine._settings, idle_timeout=75.0)
    began = time.monotonic()
    request = WaitProcessRequest(pid=await announced(bash, "sleep 300"), hold=60)
    assert await bash.call(WAIT_PROCESS, request) == RUNNING
    assert 2.4 < time.monotonic() - began < 30
