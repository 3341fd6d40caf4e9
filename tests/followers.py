"""Whoever follows a command or a log over HTTP, and whose connections may be killed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec

from rock.wire.codec import decode, encode_query
from rock.wire.commands import CommandStatus, FollowCommandRequest
from rock.wire.errors import ErrorBody, from_body
from rock.wire.frames import FRAMES_TYPE, FrameDecoder, FrameKind
from rock.wire.operations import FOLLOW_COMMAND

__all__ = ["COMPLAINED", "SAID", "TALK", "FollowedLog", "Follower"]

TALK = 'for i in $(seq 1 3000); do echo "ä $i €"; [ $((i % 7)) = 0 ] && echo "ü $i" >&2; done; exit 7'
"""A command that prints for a while, on both streams, and ends with 7."""
SAID = "".join(f"ä {i} €\n" for i in range(1, 3001)).encode()
COMPLAINED = "".join(f"ü {i}\n" for i in range(7, 3001, 7)).encode()


@dataclass
class Follower:
    """What has come of a command's output by now."""

    http: aiohttp.ClientSession
    command_id: str
    path: str = FOLLOW_COMMAND.path
    heartbeat: float = 15.0
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    heartbeats: int = 0
    end: CommandStatus | None = None
    _decoder: FrameDecoder = field(default_factory=FrameDecoder)

    @property
    def cursor(self) -> int:
        """How much has come."""
        return len(self.stdout) + len(self.stderr)

    @asynccontextmanager
    async def attached(self, *, follow: bool = True) -> AsyncIterator[aiohttp.ClientResponse]:
        """A connection that goes on after what has come."""
        request = FollowCommandRequest(
            command_id=self.command_id, cursor=self.cursor, heartbeat=self.heartbeat, follow=follow
        )
        async with self.http.get(self.path, params=encode_query(request)) as reply:
            if reply.status != 200:
                raise from_body(msgspec.json.decode(await reply.read(), type=ErrorBody), reply.status)
            assert reply.content_type == FRAMES_TYPE
            self._decoder = FrameDecoder()
            yield reply

    async def take(self, reply: aiohttp.ClientResponse, *, at_least: int | None = None) -> None:
        """Take what comes on a connection: all of it, or until so many bytes have."""
        received = 0
        while (at_least is None or received < at_least) and self.end is None:
            piece = await reply.content.read(2**16 if at_least is None else at_least - received)
            if not piece:
                return
            received += len(piece)
            for kind, payload in self._decoder.feed(piece):
                self.note(kind, payload)

    def note(self, kind: FrameKind, payload: bytes) -> None:
        """Take down what a frame says."""
        assert self.end is None, "nothing comes behind the end"
        if kind is FrameKind.END:
            self.end = decode(CommandStatus, payload)
        elif kind is FrameKind.HEARTBEAT:
            self.heartbeats += 1
        else:
            (self.stdout if kind is FrameKind.STDOUT else self.stderr).extend(payload)

    async def follow(self, *, follow: bool = True) -> Follower:
        """Take all that comes on one connection."""
        async with self.attached(follow=follow) as reply:
            await self.take(reply)
        return self

    async def follow_killed(self, after: int) -> None:
        """Take what comes in so many bytes, and have the connection killed then, as by a reset."""
        async with self.attached() as reply:
            connection = reply.connection
            await self.take(reply, at_least=after)
            if connection is not None and connection.transport is not None:
                connection.transport.abort()


class FollowedLog:
    """What comes of a file that is followed."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content
        self._decoder = FrameDecoder()
        self.heartbeats = 0

    async def read_some(self) -> bytes | None:
        """What the next bytes on the wire say; None at the end."""
        said = b""
        for kind, payload in self._decoder.feed(await self._content.readany()):
            if kind is FrameKind.END:
                assert await self._content.read() == b""
                return None
            self.heartbeats += kind is FrameKind.HEARTBEAT
            said += payload
        return said

    async def readline(self) -> bytes:
        """The next line, which must come alone."""
        line = b""
        while not line.endswith(b"\n"):
            piece = await self.read_some()
            assert piece is not None, "it ended within a line"
            line += piece
        return line

    async def read(self) -> bytes:
        """All that is to come."""
        pieces = []
        while (piece := await self.read_some()) is not None:
            pieces.append(piece)
        return b"".join(pieces)
