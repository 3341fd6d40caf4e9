"""Local files as streams: what goes up, and what comes down."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rock._transport import Call, Route
from rock.wire.errors import InternalError
from rock.wire.messages import DownloadRequest
from rock.wire.operations import DOWNLOAD, SHA256_HEADER

if TYPE_CHECKING:
    from rock._connection import Connection

__all__ = ["LocalSource", "read_head", "receive_file"]

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
        if left:
            raise OSError(f"{self._path} became {left} bytes shorter while it was sent")
        self.sha256 = digest.hexdigest()


async def receive_file(route: Route, call: Call, target: Path) -> tuple[int, str]:
    """Write a download to a local file, in one step once it is whole; its size in bytes and its SHA-256.

    Raises InternalError: the file changed meanwhile, download it again; OSError: the target cannot be written; else
    what `Route.stream` raises.
    """
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with await asyncio.to_thread(temporary.open, "xb") as file:
            async with route.stream(call) as (headers, pieces):
                size, digest = await _write(pieces, file)
        if headers.get(SHA256_HEADER, digest) != digest:
            raise InternalError(f"what was to become {target} changed while it was downloaded; download it again")
        await asyncio.to_thread(_put_in_place, temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
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
    """Give a finished file its name, and the mode of the file that it replaces."""
    with contextlib.suppress(FileNotFoundError):  # a new file has the mode that any new file gets
        temporary.chmod(target.stat().st_mode & 0o7777)
    temporary.replace(target)


async def read_head(rocklet: Connection, path: str, limit_bytes: int | None) -> str:
    """The text of a file's first bytes, or of all of them; a character that the limit cuts in two is left out."""
    request = DownloadRequest(path=path, sha256=False, length=limit_bytes)
    content = await rocklet.download(DOWNLOAD, request, _receive_bytes)
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    return decoder.decode(content, final=limit_bytes is None or len(content) < limit_bytes)


async def _receive_bytes(route: Route, call: Call) -> bytes:
    async with route.stream(call) as (_, pieces):
        return b"".join([piece async for piece in pieces])
