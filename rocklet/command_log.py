"""What a command has printed: in frames, on disk, to be read from any byte on while it is still written."""

from __future__ import annotations

import asyncio
import bisect
import os
import tempfile
from collections.abc import Callable

from rock.wire.errors import FileAccess, InvalidRequest
from rock.wire.frames import HEADER_SIZE, FrameKind, decode_header, encode_frame
from rocklet.faults import find_exhaustion

__all__ = ["CommandLog", "LogReader"]

_CHUNK = 2**18  # bytes read at once; more than lies between two marks, a frame included
_MARK_EVERY = 2**16  # bytes of the file


class CommandLog:
    """A log that takes what is printed up to a limit, and counts the rest.

    Its file has no name, so that commands cannot change it, and nothing is left behind, whatever ends the rocklet.
    `take_room` takes so many bytes of the disk, if they are to be had; a negative number gives them back.
    Raises FileAccess: no directory for temporary files can be written; LimitReached: too many files are open.
    """

    def __init__(self, limit: int, take_room: Callable[[int], bool]) -> None:
        self._limit = limit
        self._take_room = take_room
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the log is
        except OSError as error:
            if (exhausted := find_exhaustion(error)) is not None:
                raise exhausted from error
            raise FileAccess(
                f"a command's log is a temporary file, and none can be made: {error}; give the sandbox a /tmp",
                details={"path": "/tmp"},  # noqa: S108 - where it would be, not a path that is used
            ) from error
        self.size = 0
        """Bytes of the file."""
        self.output_bytes = 0
        """Bytes that were printed and taken: the cursor behind all of it."""
        self.cut_bytes = 0
        self.failure = ""
        """Why it takes no more although it is not full."""
        self.is_ended = False
        self._cursors, self._places = [0], [0]
        """Of a frame every so often, its cursor and its place in the file, so that a cursor is found quickly."""
        self._changed = asyncio.Event()

    def append(self, kind: FrameKind, data: bytes) -> None:
        """Take what was printed next, as far as there is room."""
        # Once something was cut nothing more is taken, or there would be a gap that no reader sees.
        room = 0 if self.cut_bytes else self._limit - self.output_bytes
        taken = data[:room]
        if taken and not self._write(encode_frame(kind, taken)):
            taken = b""
        self.output_bytes += len(taken)
        self.cut_bytes += len(data) - len(taken)
        self._tell()

    def end(self) -> None:
        """No more will come."""
        self.is_ended = True
        self._tell()

    def open_reader(self, cursor: int) -> LogReader:
        """A reader from a cursor on.

        Raises InvalidRequest: that much was not printed.
        """
        if cursor > self.output_bytes:
            raise InvalidRequest(
                f"cursor is {cursor}, and the log has {self.output_bytes} bytes by now",
                details={"field": "cursor", "value": cursor, "expected": f"at most {self.output_bytes}"},
            )
        mark = bisect.bisect_right(self._cursors, cursor) - 1
        fd = os.dup(self._file.fileno())
        return LogReader(self, fd, self._places[mark], skip=cursor - self._cursors[mark])

    async def wait_beyond(self, place: int) -> None:
        """Return once the file has more than up to a place, or nothing more will come."""
        while self.size <= place and not self.is_ended:
            await self._changed.wait()

    def close(self) -> None:
        """Let go of the file; it is gone once nobody reads it."""
        self._file.close()
        self._take_room(-self.size)

    def _write(self, frame: bytes) -> bool:
        """Whether a frame was written: into the page cache, which takes microseconds and waits for no disk."""
        if not self._take_room(len(frame)):
            self.failure = "its log has stopped: the logs of all commands have the disk that they may use"
            return False
        try:
            written = os.pwrite(self._file.fileno(), frame, self.size)
            why = "the disk is full"
        except OSError as error:
            written, why = 0, str(error.strerror)
        if written < len(frame):
            self._take_room(-len(frame))
            self.failure = f"its log has stopped: {why}"
            return False
        if self.size - self._places[-1] >= _MARK_EVERY:
            self._cursors.append(self.output_bytes)
            self._places.append(self.size)
        self.size += len(frame)
        return True

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class LogReader:
    """One reader of a log, at a pace of its own: nothing is kept for it in memory."""

    def __init__(self, log: CommandLog, fd: int, place: int, *, skip: int) -> None:
        self._log = log
        self._fd = fd
        self._place = place
        self._skip = skip

    def read(self) -> bytes:
        """The next frames, which may be cut at the end, to go on with the next call; empty if there are no more by now.

        Blocks.
        """
        data = os.pread(self._fd, min(_CHUNK, self._log.size - self._place), self._place)
        self._place += len(data)
        return self._skip_output(data) if self._skip else data

    def _skip_output(self, data: bytes) -> bytes:
        """What is left of whole frames without the output that the reader has already."""
        at = 0
        while self._skip:
            kind, length = decode_header(data, at)
            at += HEADER_SIZE + length
            if length > self._skip:
                rest = data[at - (length - self._skip) : at]
                self._skip = 0
                return encode_frame(kind, rest) + data[at:]
            self._skip -= length
        return data[at:]

    async def wait_more(self) -> None:
        """Return once there is more to read, or nothing more will come."""
        await self._log.wait_beyond(self._place)

    def close(self) -> None:
        """Let go."""
        os.close(self._fd)
