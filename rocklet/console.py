"""A program on a PTY of its own, for a person at the other end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from typing import Any

from rock.wire.tunnels import ConsoleRequest
from rocklet.processes import Children
from rocklet.sessions.shell import find_flavor
from rocklet.surroundings import Surroundings
from rocklet.waiting import wait_first

__all__ = ["Console"]

_CHUNK = 2**16  # bytes
_LINGER = 0.2  # seconds for what the program has printed last, where something it left behind keeps the terminal open
_HANGUP_GRACE = 2.0  # seconds from SIGHUP to SIGKILL, for a program whose person is gone

# The first terminal that a session's leader opens becomes its controlling one.
_OPENER = ("/bin/sh", "-c", 'terminal=$1; shift; exec "$@" 0<>"$terminal" 1>&0 2>&0', "sh")


class Console:
    """A program and its terminal, as it is: echo, line ends and keys are the kernel's and the program's business.

    Raises CommandFailed.
    """

    def __init__(self, request: ConsoleRequest, surroundings: Surroundings, children: Children) -> None:
        self._loop = asyncio.get_running_loop()
        argv = request.command or [find_flavor(surroundings.env["PATH"])[1]]
        self._master, slave = os.openpty()
        try:
            os.set_blocking(self._master, False)
            self.resize(request.rows, request.cols)
            if surroundings.account is not None:
                os.fchown(slave, surroundings.account.uid, surroundings.account.gid)
            # As its streams too, so that the terminal is never without anyone who has it open.
            self._child = children.spawn(
                [*_OPENER, os.ttyname(slave), *argv], surroundings, streams=(slave, slave, slave)
            )
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)
        self.exited = self._child.exited
        """The program's exit code, as a shell tells it, once it has ended."""

    async def read(self) -> bytes:
        """What has been printed; empty at the end."""
        while True:
            try:
                return os.read(self._master, _CHUNK)
            except BlockingIOError:
                if await self._is_silent():
                    return b""
            except OSError:  # nobody has the terminal open any more
                return b""

    async def write(self, keys: bytes) -> None:
        """Press keys; nobody feels them once the program has ended."""
        while keys:
            try:
                keys = keys[os.write(self._master, keys) :]
            except BlockingIOError:
                if self.exited.done():
                    return
                await self._ready(self._loop.add_writer, self._loop.remove_writer, also=self.exited)
            except OSError:
                return

    def resize(self, rows: int, cols: int) -> None:
        """Tell the kernel, which tells the program by SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    async def close(self) -> None:
        """Hang up, and end a program that goes on nevertheless."""
        os.close(self._master)
        self._child.signal_group(signal.SIGHUP)
        await wait_first(self.exited, timeout=_HANGUP_GRACE)
        self._child.signal_group(signal.SIGKILL)

    async def _is_silent(self) -> bool:
        """Wait for output; True if the program has ended and none comes."""
        if self.exited.done():
            return not await self._ready(self._loop.add_reader, self._loop.remove_reader, timeout=_LINGER)
        await self._ready(self._loop.add_reader, self._loop.remove_reader, also=self.exited)
        return False

    async def _ready(
        self,
        watch: Callable[[int, Callable[[], None]], object],
        unwatch: Callable[[int], object],
        *,
        also: asyncio.Future[int] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a wait that may end without an error
    ) -> bool:
        """Whether the terminal became ready, before `also` was done and the time was up."""
        ready: asyncio.Future[None] = self._loop.create_future()
        watch(self._master, lambda: None if ready.done() else ready.set_result(None))
        try:
            futures: list[asyncio.Future[Any]] = [ready] if also is None else [ready, also]
            await wait_first(*futures, timeout=timeout)
            return ready.done()
        finally:
            unwatch(self._master)
