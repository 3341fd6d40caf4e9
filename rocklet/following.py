"""Files that are still being written, in frames: read as far as they go, then waited for, without looking again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import BinaryIO

from rock.wire.errors import InvalidRequest, LimitReached
from rock.wire.frames import FRAMES_TYPE, HEARTBEAT, FrameKind, encode_frame
from rock.wire.messages import DownloadRequest, ProcessEnd
from rocklet.files import Stream, open_regular

__all__ = ["Following"]

_CHUNK = 2**18  # bytes
_IN_MODIFY = 0x2
_IN_CLOEXEC, _IN_NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK
"""Source: inotify(7)."""


class Following:
    """A file, until the process that writes to it has ended; `wait_end` tells that, or in between that it has not.

    Raises FileNotFound, FileAccess, InvalidRequest; LimitReached: the kernel watches no more files for us.
    """

    length: int | None = None
    sha256: str | None = None
    content_type = FRAMES_TYPE
    is_cut = False

    def __init__(self, request: DownloadRequest, wait_end: Callable[[], Awaitable[ProcessEnd]]) -> None:
        if request.length is not None or request.sha256:
            raise InvalidRequest(
                "follow is set, and so is length or sha256; what is still written has neither",
                details={"field": "follow", "value": request.follow, "expected": "length unset and sha256 false"},
            )
        self._wait_end = wait_end
        self._heartbeat = request.heartbeat
        self._is_idle = self._has_ended = self._is_over = False
        self._file = open_regular(request.path)
        try:
            self._file.seek(request.offset)
            self._watch = _watch(self._file)
        except BaseException:
            self._file.close()
            raise

    def read(self) -> bytes:
        """The next frame; empty where there is none by now."""
        if self._is_idle:
            self._is_idle = False
            return HEARTBEAT
        has_ended = self._has_ended
        data = self._file.read(_CHUNK)
        if data:
            return encode_frame(FrameKind.STDOUT, data)
        if not has_ended or self._is_over:
            return b""
        self._is_over = True
        return encode_frame(FrameKind.END)

    async def grew(self) -> bool:
        """Wait until there may be more, or a heartbeat is due; False: the process has ended, and all was read."""
        if self._is_over:
            return False
        async with asyncio.TaskGroup() as tasks:
            end, growth = tasks.create_task(self._see_end()), tasks.create_task(self._written())
            done, _ = await asyncio.wait((end, growth), timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
            self._has_ended, self._is_idle = end in done, not done
            end.cancel()
            growth.cancel()
        return True

    async def _see_end(self) -> None:
        while not (await self._wait_end()).has_ended:
            pass

    async def _written(self) -> None:
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._watch, lambda: None if written.done() else written.set_result(None))
        try:
            await written
        finally:
            loop.remove_reader(self._watch)
        os.read(self._watch, _CHUNK)

    def close(self) -> None:
        """Let go."""
        self._file.close()
        os.close(self._watch)


def _watch(file: BinaryIO) -> int:
    """A descriptor that is readable once the file has been written to."""
    import ctypes  # 5 ms to import, which only who follows a file has to pay

    libc = ctypes.CDLL(None, use_errno=True)
    watch: int = libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK)
    # By its descriptor: the file may have lost its name, or another may have it.
    if watch < 0 or libc.inotify_add_watch(watch, f"/proc/self/fd/{file.fileno()}".encode(), _IN_MODIFY) < 0:
        why = os.strerror(ctypes.get_errno())
        if watch >= 0:
            os.close(watch)
        raise LimitReached(f"no more files can be followed here: {why}; stop following another", details={"limit": why})
    return watch


_: type[Stream] = Following
