from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from rock.wire.errors import CommandFailed
from rock.wire.tunnels import ConsoleRequest
from rocklet.config import Settings
from rocklet.console import Console
from rocklet.processes import Children
from rocklet.surroundings import plan_surroundings

pytestmark = pytest.mark.slow


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    children = Children(adopt=False)
    yield children
    await children.end_all()


class _Opened:
    """A console, and all that it has printed."""

    def __init__(self, settings: Settings, children: Children, *command: str, rows: int = 24, cols: int = 80) -> None:
        surroundings = plan_surroundings(settings, user=None, cwd=None, env={"TERM": "xterm"})
        asked = ConsoleRequest(command=list(command), rows=rows, cols=cols)
        self.console = Console(asked, surroundings, children)
        self.printed = b""

    async def read_until(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in self.printed:
                data = await self.console.read()
                assert data, self.printed
                self.printed += data

    async def end(self) -> int:
        async with asyncio.timeout(10):
            while data := await self.console.read():
                self.printed += data
            exit_code = await self.console.exited
        await self.console.close()
        return exit_code


async def test_a_program_has_a_terminal_of_the_size_that_was_asked(settings: Settings, children: Children) -> None:
    opened = _Opened(settings, children, "sh", "-c", "tty; stty size; echo $TERM", rows=11, cols=99)
    assert await opened.end() == 0
    lines = opened.printed.decode().split("\r\n")
    assert lines[0].startswith("/dev/pts/")
    assert lines[1:3] == ["11 99", "xterm"]


async def test_a_resize_reaches_the_program_as_a_signal(settings: Settings, children: Children) -> None:
    script = "trap 'stty size; exit 5' WINCH; echo ready; while :; do read x; done"
    opened = _Opened(settings, children, "bash", "-c", script)
    await opened.read_until(b"ready")
    opened.console.resize(30, 120)
    await opened.console.write(b"\n")
    assert await opened.end() == 5
    assert b"30 120" in opened.printed


async def test_ctrl_c_interrupts_what_is_in_the_foreground(settings: Settings, children: Children) -> None:
    # Where cat answers, it runs: a Ctrl-C that meets dash between its print and its fork is lost, on any terminal.
    opened = _Opened(settings, children, "sh", "-c", "cat")
    await opened.console.write(b"ready\n")
    await opened.read_until(b"ready\r\nready\r\n")
    await opened.console.write(b"\x03")
    assert await opened.end() == 128 + signal.SIGINT


async def test_without_a_command_it_is_the_sandboxs_shell(settings: Settings, children: Children) -> None:
    opened = _Opened(settings, children)
    await opened.console.write(b"echo $((6*7)); exit 9\n")
    assert await opened.end() == 9
    assert b"42\r\n" in opened.printed


async def test_all_output_comes_before_the_end_however_much_it_is(settings: Settings, children: Children) -> None:
    opened = _Opened(settings, children, "sh", "-c", "seq 100000; (sleep 60 &) ; echo last")
    assert await opened.end() == 0
    assert opened.printed.endswith(b"99999\r\n100000\r\nlast\r\n")


async def test_keys_that_nobody_reads_wait_and_do_not_block(settings: Settings, children: Children) -> None:
    opened = _Opened(settings, children, "sh", "-c", "stty raw -echo; echo ready; exec sleep 60")
    await opened.read_until(b"ready")
    typing = asyncio.ensure_future(opened.console.write(b"x" * 2**20))
    await asyncio.wait([typing], timeout=0.1)
    assert not typing.done()
    await opened.console.close()
    await typing


async def test_closing_hangs_up_and_then_kills(settings: Settings, children: Children) -> None:
    opened = _Opened(settings, children, "sh", "-c", "trap '' HUP; echo pid $$ ready; while :; do sleep 1; done")
    await opened.read_until(b"ready")
    pid = int(opened.printed.split()[1])
    await opened.console.close()
    assert await asyncio.wait_for(opened.console.exited, 60) == 128 + signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_directory_that_is_not_there_is_named(settings: Settings, children: Children) -> None:
    surroundings = plan_surroundings(settings, user=None, cwd="/nowhere", env={})
    with pytest.raises(CommandFailed, match="/nowhere"):
        Console(ConsoleRequest(), surroundings, children)
