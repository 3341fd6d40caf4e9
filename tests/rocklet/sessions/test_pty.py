"""A terminal, written to by plain descriptors."""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import AsyncIterator

import pytest

from rocklet.sessions.pty import Terminal


class Screen:
    """A terminal and what was printed on it."""

    def __init__(self) -> None:
        self.printed = bytearray()
        self.terminal = Terminal(self.printed.extend)
        self.fd = os.open(self.terminal.path, os.O_RDWR | os.O_NOCTTY)


@pytest.fixture
async def screen() -> AsyncIterator[Screen]:
    screen = Screen()
    yield screen
    os.close(screen.fd)
    screen.terminal.close()


async def test_all_that_was_printed_is_there_once_it_has_settled(screen: Screen) -> None:
    for size in (0, 1, 4095, 4096, 20_000):
        screen.printed.clear()
        data = os.urandom(size)
        writing = asyncio.ensure_future(asyncio.to_thread(os.write, screen.fd, data))
        assert await writing == size
        await screen.terminal.settle()
        assert bytes(screen.printed) == data


async def test_a_marker_never_shows_however_often_it_settles(screen: Screen) -> None:
    for n in range(100):
        os.write(screen.fd, b"%d\n" % n)
        await screen.terminal.settle()
    assert bytes(screen.printed) == b"".join(b"%d\n" % n for n in range(100))


async def test_it_settles_while_another_floods_it(screen: Screen) -> None:
    flooding = await asyncio.create_subprocess_exec("yes", stdout=screen.fd)
    try:
        async with asyncio.timeout(60):
            while len(screen.printed) < 100_000:
                await screen.terminal.settle()
    finally:
        flooding.kill()
        await flooding.wait()
    await screen.terminal.settle()
    assert set(bytes(screen.printed).split(b"\n")) == {b"y", b""}


async def test_keys_arrive_and_are_not_echoed(screen: Screen) -> None:
    screen.terminal.type(b"hello\n")
    assert await asyncio.to_thread(os.read, screen.fd, 100) == b"hello\n"
    await screen.terminal.settle()
    assert bytes(screen.printed) == b""


async def test_modes_that_a_command_changed_are_put_back(screen: Screen) -> None:
    before = termios.tcgetattr(screen.fd)
    changed = termios.tcgetattr(screen.fd)
    changed[1] |= termios.OPOST
    changed[3] |= termios.ECHO
    termios.tcsetattr(screen.fd, termios.TCSANOW, changed)
    screen.terminal.reset()
    assert termios.tcgetattr(screen.fd) == before


async def test_a_terminal_that_was_closed_has_nothing_in_the_foreground() -> None:
    terminal = Terminal(lambda _: None)
    assert terminal.foreground() == 0
    terminal.close()
    terminal.close()
    terminal.drain()
    assert terminal.foreground() == 0
