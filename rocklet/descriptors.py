"""Non-blocking file descriptors on the event loop: bytes out of them as they come, bytes into them as they fit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from rocklet.waiting import wait_first

__all__ = ["Inlet", "Outlet"]

_READ_SIZE = 65_536  # bytes; what a pipe holds
_READS_PER_TURN = 16  # then others get the loop
_MORE_TO_COME = 2048  # bytes of a read, from which on the next is tried at once; a PTY gives 4 KiB at most


class Inlet:
    """A descriptor that is read; owned, and so closed, by this."""

    def __init__(self, fd: int, sink: Callable[[bytes], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done at end of file, and when it was closed here."""
        self._loop.add_reader(fd, self.read_turn)

    def read_turn(self) -> None:
        """Read what is there now, of a flood no more than others can wait for."""
        for _ in range(_READS_PER_TURN):
            if self._read_once() < _MORE_TO_COME:
                return

    def drain(self) -> None:
        """Read what is there now."""
        while self._read_once():
            pass

    def _read_once(self) -> int:
        """How many bytes there were."""
        if self.ended.done():
            return 0
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return 0
        except OSError:  # a PTY whose other side is gone says EIO
            data = b""
        if data:
            self._sink(data)
        else:
            self.close()
        return len(data)

    def close(self) -> None:
        """Stop reading."""
        if not self.ended.done():
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self.ended.set_result(None)


class Outlet:
    """A descriptor that is written; owned, and so closed, by this."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._pending = bytearray()
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._closed = False
        self._taken: asyncio.Future[None] | None = None
        """Who waits for what was sent to be written."""

    def send(self, data: bytes) -> None:
        """Write in order, now as far as it fits, the rest as soon as it does; nothing once the reader is gone."""
        if not self._pending:
            data = data[self._write(data) :]
        if data and not self._closed:
            if not self._pending:
                self._loop.add_writer(self._fd, self._on_writable)
            self._pending += data

    async def wait_sent(self, canceled: asyncio.Future[None]) -> None:
        """Return once everything is written, or never will be, or the wait is called off."""
        if self._pending:
            self._taken = self._taken or self._loop.create_future()
            await wait_first(self._taken, canceled)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._closing or self._closed

    def close_when_sent(self) -> None:
        """Close as soon as everything is written."""
        self._closing = True
        if not self._pending:
            self.close()

    def close(self) -> None:
        """Close now."""
        if not self._closed:
            self._closed = True
            if self._pending:
                self._loop.remove_writer(self._fd)
                self._pending.clear()
            os.close(self._fd)
            self._tell_taken()

    def _write(self, data: bytes | bytearray) -> int:
        if self._closed:
            return len(data)
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # the reader is gone: nobody misses the rest
            self.close()
            return len(data)

    def _on_writable(self) -> None:
        written = self._write(self._pending[:_READ_SIZE])
        if self._closed:
            return
        del self._pending[:written]
        if not self._pending:
            self._loop.remove_writer(self._fd)
            self._tell_taken()
            if self._closing:
                self.close()

    def _tell_taken(self) -> None:
        if self._taken is not None:
            self._taken.set_result(None)
            self._taken = None
