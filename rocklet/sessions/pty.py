"""A PTY as a shell's terminal: exact bytes, and an end of output that nobody has to guess."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import struct
import termios
from collections.abc import Callable

from rocklet.descriptors import Inlet, Outlet
from rocklet.waiting import wait_first

__all__ = ["Terminal"]

_ROWS, _COLUMNS = 24, 80
_SETTLE_TIMEOUT = 2.0  # seconds for the kernel to pass on what was printed; it takes microseconds
_MODES_SIZE = 64  # bytes; the kernel's struct termios has 36 or more, by architecture


class Terminal:
    """Both sides of a PTY.  What is printed on it goes to `sink`, in order and byte for byte."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        master, self._slave = os.openpty()
        self.path = os.ttyname(self._slave)
        os.set_blocking(self._slave, False)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        attributes = termios.tcgetattr(self._slave)
        attributes[1] &= ~termios.OPOST  # or \n would come back as \r\n
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)
        self._modes = fcntl.ioctl(self._slave, termios.TCGETS, bytes(_MODES_SIZE))
        self._sink = sink
        self._keyboard = Outlet(os.dup(master))
        self._screen = Inlet(master, self._on_data)
        self._master = master
        self._marker = b""
        self._held = bytearray()
        self._settled: asyncio.Future[None] | None = None

    def give_to(self, uid: int, gid: int) -> None:
        """Let another user open it by name."""
        os.fchown(self._slave, uid, gid)

    def reset(self) -> None:
        """Undo what a command did to its modes."""
        # Its shell is gone, or its session closed; a new one gets a new terminal.
        with contextlib.suppress(OSError, ValueError):
            fcntl.ioctl(self._slave, termios.TCSETS, self._modes)

    def type(self, data: bytes) -> None:
        """Press keys."""
        self._keyboard.send(data)

    def foreground(self) -> int:
        """The process group in the foreground; 0 if there is none."""
        try:  # asked of the master: of the slave only its own session may ask
            return 0 if self._screen.ended.done() else max(os.tcgetpgrp(self._master), 0)
        except OSError:
            return 0

    async def settle(self) -> bool:
        """Return once everything printed before this call has gone to the sink; False: it is beyond use.

        What a process writes passes through a queue of the kernel before it can be read here, so that "nothing to
        read" proves nothing.  Hence a marker, drawn only now, is sent through the same queue behind it.
        """
        loop = asyncio.get_running_loop()
        self._settled = loop.create_future()
        self._marker = secrets.token_hex(16).encode()
        try:
            if left := self._marker[self._print(self._marker) :]:
                # A job in the background floods the terminal; a writer that blocks gets its turn there.
                loop.run_in_executor(None, self._print_blocking, left)
            return await wait_first(self._settled, timeout=_SETTLE_TIMEOUT)
        finally:
            self._settled = None
            self._flush(len(self._held))

    def catch_up(self) -> None:
        """Read what is there now, of a flood a part."""
        self._screen.read_turn()

    def drain(self) -> None:
        """Read what is left when the shell is gone: the kernel has hung up, and the end is an end of file."""
        self._screen.drain()

    def close(self) -> None:
        """Hang up."""
        self._screen.close()
        self._keyboard.close()
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1

    def _print(self, data: bytes) -> int:
        try:
            return os.write(self._slave, data)
        except OSError:  # full, or another is writing; or hung up
            return 0

    def _print_blocking(self, data: bytes) -> None:
        with contextlib.suppress(OSError), open(self.path, "wb", buffering=0, opener=_open_terminal) as slave:
            slave.write(data)

    def _on_data(self, data: bytes) -> None:
        if self._settled is None:
            self._sink(data)
            return
        self._held += data
        at = self._held.find(self._marker)
        if at < 0:
            self._flush(len(self._held) - len(self._marker) + 1)
            return
        self._flush(at)
        del self._held[: len(self._marker)]
        if not self._settled.done():
            self._settled.set_result(None)

    def _flush(self, size: int) -> None:
        if size > 0:
            self._sink(bytes(self._held[:size]))
            del self._held[:size]


def _open_terminal(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY)
