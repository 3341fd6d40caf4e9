"""Child processes: started, watched, ended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import AsyncIterator

import pytest

from rock.wire.errors import CommandFailed
from rocklet.processes import Child, Children, group_members, is_newborn, signal_group, signal_process
from rocklet.surroundings import Surroundings

_NOWHERE = (subprocess.DEVNULL, subprocess.DEVNULL, subprocess.DEVNULL)
_HERE = Surroundings(env={"PATH": "/usr/bin:/bin"}, cwd="/")
_GONE = 2**22 + 1  # no pid is so large


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    children = Children(adopt=False)
    yield children
    await children.end_all()


def start(children: Children, *argv: str) -> Child:
    return children.spawn(argv, _HERE, streams=_NOWHERE)


async def test_an_exit_code_is_told_as_a_shell_tells_it(children: Children) -> None:
    assert await start(children, "sh", "-c", "exit 7").exited == 7
    assert await start(children, "sh", "-c", "kill -9 $$").exited == 137


async def test_a_child_leads_a_session_and_a_group_of_its_own(children: Children) -> None:
    child = start(children, "sleep", "300")
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
    assert group_members(child.pid) == [child.pid]
    assert is_newborn(child.pid)
    child.signal_group(signal.SIGTERM)
    assert await child.exited == 128 + signal.SIGTERM


async def test_a_child_that_was_reaped_is_never_signalled_again(children: Children) -> None:
    child = start(children, "true")
    await child.exited
    child.signal(signal.SIGKILL)
    child.signal_group(signal.SIGKILL)


async def test_the_end_of_all_reaches_grandchildren(children: Children) -> None:
    child = start(children, "sh", "-c", "(sleep 300 & sleep 300; true) & sleep 300; true")
    while len(group_members(child.pid)) < 5:  # two shells and three sleepers
        pass
    await children.end_all()
    assert child.exited.done()
    assert group_members(child.pid) == []


async def test_what_cannot_be_started_is_named(children: Children) -> None:
    with pytest.raises(CommandFailed, match="nonono"):
        start(children, "nonono")
    with pytest.raises(CommandFailed, match="/nonono"):
        children.spawn(["true"], Surroundings(env={}, cwd="/nonono"), streams=_NOWHERE)


async def test_a_kernel_without_pidfds_is_served_by_threads(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "as gVisor says")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert await start(children, "sh", "-c", "exit 3").exited == 3


def test_who_is_gone_is_no_error() -> None:
    signal_process(_GONE, signal.SIGTERM)
    signal_group(_GONE, signal.SIGTERM)
    assert not is_newborn(_GONE)
    assert group_members(_GONE) == []
