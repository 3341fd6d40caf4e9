from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rocklet.orphans import Orphans


@pytest.fixture
def orphans() -> Orphans:
    return Orphans()


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


CHILDREN: dict[int, int] = {}
"""Children that wait, and the pipes that end them."""


def end(pid: int, exit_code: int = 0) -> None:
    """Have a child end."""
    if (write := CHILDREN.pop(pid, None)) is not None:
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            os.write(write, bytes([exit_code]))
        os.close(write)


def see_dead(pid: int) -> None:
    """Wait until a child has ended, and leave it unreaped."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


async def test_a_waiter_is_told_the_exit_code_when_the_process_ends(orphans: Orphans, sleeper: int) -> None:
    waiting = asyncio.ensure_future(orphans.wait(sleeper, 10, may_reap=True))
    await asyncio.sleep(0)
    end(sleeper, 7)
    assert await waiting == (True, 7)


async def test_several_may_wait_for_one_process(orphans: Orphans, sleeper: int) -> None:
    waiting = [asyncio.ensure_future(orphans.wait(sleeper, 10, may_reap=True)) for _ in range(3)]
    await asyncio.sleep(0)
    end(sleeper, 3)
    assert await asyncio.gather(*waiting) == [(True, 3)] * 3


async def test_a_process_that_goes_on_is_said_to(orphans: Orphans, sleeper: int) -> None:
    assert await orphans.wait(sleeper, 0.01, may_reap=True) == (False, None)
    end(sleeper, 2)
    assert await orphans.wait(sleeper, 10, may_reap=True) == (True, 2)


async def test_an_exit_code_is_kept_for_who_asks_later(orphans: Orphans, sleeper: int) -> None:
    end(sleeper, 9)
    see_dead(sleeper)
    orphans.reap(sleeper)
    for _ in range(2):
        assert await orphans.wait(sleeper, 10, may_reap=True) == (True, 9)


async def test_an_end_by_a_signal_is_told_as_a_shell_does(orphans: Orphans, sleeper: int) -> None:
    os.kill(sleeper, 15)
    assert await orphans.wait(sleeper, 10, may_reap=True) == (True, 143)


async def test_a_foreign_process_has_ended_but_its_exit_code_is_not_known(orphans: Orphans) -> None:
    program = [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(4)"]
    with subprocess.Popen(program, stdin=subprocess.PIPE) as foreign:  # noqa: ASYNC220 - it waits for us
        assert await orphans.wait(foreign.pid, 0.01, may_reap=False) == (False, None)
        assert foreign.stdin is not None
        foreign.stdin.close()
        assert await orphans.wait(foreign.pid, 10, may_reap=False) == (True, None)
        assert foreign.wait() == 4
    assert await orphans.wait(foreign.pid, 10, may_reap=False) == (True, None)


async def test_without_pidfds_reaping_tells(
    orphans: Orphans, sleeper: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    waiting = asyncio.ensure_future(orphans.wait(sleeper, 10, may_reap=True))
    await asyncio.sleep(0)
    end(sleeper, 5)
    see_dead(sleeper)
    orphans.reap(sleeper)
    assert await waiting == (True, 5)


async def test_the_code_of_an_earlier_process_of_the_same_number_is_forgotten(orphans: Orphans, sleeper: int) -> None:
    orphans._note(sleeper, 99)
    assert await orphans.wait(sleeper, 0.01, may_reap=True) == (False, None)
    end(sleeper, 1)
    assert await orphans.wait(sleeper, 10, may_reap=True) == (True, 1)


def test_only_so_many_exit_codes_are_kept(orphans: Orphans) -> None:
    for pid in range(10**6, 10**6 + 5000):
        orphans._note(pid, 0)
    assert len(orphans._exit_codes) == 4096
