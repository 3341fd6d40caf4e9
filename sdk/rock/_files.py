"""Local files as streams: what goes up, and what comes down."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from rock._transport import Call, Lost, Route
from rock.wire.operations import SHA256_HEADER

__all__ = ["LocalSource", "receive_file"]

_PIECE = 256 * 1024  # bytes; large enough that a thread's round trip does not matter


class LocalSource:
    """A local file that is sent as it was when it was opened: never more than its size then."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self.size = self._path.stat().st_size
        self.sha256 = ""
        """Of what was sent last."""

    async def __call__(self) -> AsyncIterator[bytes]:
        """The file's bytes in pieces, from the beginning."""
        digest = hashlib.sha256()
        left = self.size
        with await asyncio.to_thread(self._path.open, "rb") as file:
            while left and (piece := await asyncio.to_thread(file.read, min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
                yield piece
        self.sha256 = digest.hexdigest()


async def receive_file(route: Route, call: Call, target: Path) -> tuple[int, str]:
    """Write a download to a local file, in one step once it is whole; its size in bytes and its SHA-256.

    Raises Lost: the stream ended early or is not what the server had announced, ask again; else what `Route.stream`
    raises.
    """
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            async with route.stream(call) as (headers, pieces):
                size, digest = await _write(pieces, file)
        announced = headers.get(SHA256_HEADER, digest)
        if announced != digest:
            raise Lost(f"{target.name} changed while it was downloaded: {size} bytes came, with another digest")
        await asyncio.to_thread(_put_in_place, Path(temporary), target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)  # noqa: ASYNC240 - a system call, also while being cancelled
        raise
    return size, digest


async def _write(pieces: AsyncIterator[bytes], file: BinaryIO) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    async for piece in pieces:
        digest.update(piece)
        size += len(piece)
        await asyncio.to_thread(file.write, piece)
    return size, digest.hexdigest()


def _put_in_place(temporary: Path, target: Path) -> None:
    """Move a finished file to its name, with the mode that a plain `open` would have given it."""
    try:
        mode = target.stat().st_mode & 0o7777
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    temporary.chmod(mode)
    temporary.replace(target)
