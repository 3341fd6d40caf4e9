"""A client's body on its way to a rocklet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from aiohttp import web

__all__ = ["Body", "ReplayableBody", "Source", "WholeBody", "take_body"]

KEPT_BYTES = 1024 * 1024
"""How much of a body is kept so that it can be sent again: every action, and no upload worth the name."""

_AWAITED_BYTES = 16 * 1024
"""A body of this length comes in one piece, and goes on in one piece with its headers, which a stream does not."""


class Body(Protocol):
    """What goes up to a rocklet."""

    @property
    def can_be_sent_again(self) -> bool:
        """Whether `content` may be called."""
        ...

    def content(self) -> bytes | AsyncIterator[bytes]:
        """The body from its beginning."""
        ...


class Source(Protocol):
    """Where a body comes from; nothing at its end."""

    async def readany(self) -> bytes:
        """What has come in next."""
        ...


class WholeBody:
    """A body that is there."""

    can_be_sent_again = True

    def __init__(self, content: bytes) -> None:
        self._content = content

    def content(self) -> bytes:
        """All of it."""
        return self._content


class ReplayableBody:
    """The bytes of a body as they come in, of which a short one can be sent more than once.

    It never holds more than `KEPT_BYTES` and the chunk that is passing.
    """

    def __init__(self, source: Source, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._source = source
        self._kept: list[bytes] = []
        self._room = kept_bytes

    @property
    def can_be_sent_again(self) -> bool:
        """Whether nothing of what was read has been let go."""
        return self._room >= 0

    async def content(self) -> AsyncIterator[bytes]:
        """The body from its beginning.  Only while `can_be_sent_again`."""
        for chunk in self._kept:
            yield chunk
        while chunk := await self._source.readany():
            self._keep(chunk)
            yield chunk

    def _keep(self, chunk: bytes) -> None:
        if self._room < 0:
            return
        self._room -= len(chunk)
        if self._room >= 0:
            self._kept.append(chunk)
        else:
            self._kept.clear()


async def take_body(request: web.BaseRequest) -> Body | None:
    """The body that a client sends, if it sends one."""
    if not request.can_read_body:
        return None
    if request.content_length is not None and request.content_length <= _AWAITED_BYTES:
        return WholeBody(await request.content.read())
    return ReplayableBody(request.content)
