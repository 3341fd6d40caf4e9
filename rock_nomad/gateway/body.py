"""A client's body on its way to a rocklet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

__all__ = ["Body", "ReplayableBody", "Source", "WholeBody"]

KEPT_BYTES = 1024 * 1024
"""How much of a body is kept so that it can be sent again: every action, and no upload worth the name."""


class Body(Protocol):
    """What goes up to a rocklet."""

    @property
    def can_be_sent_again(self) -> bool:
        """Whether `chunks` may be called."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
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

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it."""
        yield self._content


class ReplayableBody:
    """The bytes of a body as they come in, of which a short one can be sent more than once.

    It never holds more than `KEPT_BYTES` and the chunk that is passing.
    """

    def __init__(self, content: Source, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._content = content
        self._kept: list[bytes] = []
        self._room = kept_bytes

    @property
    def can_be_sent_again(self) -> bool:
        """Whether nothing of what was read has been let go."""
        return self._room >= 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its beginning.  Only while `can_be_sent_again`."""
        for chunk in self._kept:
            yield chunk
        while chunk := await self._content.readany():
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
