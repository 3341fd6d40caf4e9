"""Trees of files as streams of bytes: how directories travel to a sandbox and back.

A tar stream with one root, which whoever unpacks it names; it comes a second time as the last entry.  Both ends are
here, so that they cannot drift.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import stat
import tarfile
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from threading import Lock
from typing import IO, cast

__all__ = ["pack", "unpack"]

_CHUNK = 2**18  # bytes
_HEADER_LIMIT = 2**20  # bytes of one entry's headers, which tarfile reads whole; `pack` makes some hundred
_ROOT = "."
_THREADS = ThreadPoolExecutor(4, "archives")
"""Of their own: each waits for its stream, and the loop's are for what does not wait."""


def pack(path: str) -> Generator[bytes, None, None]:
    """A file or a directory with all below it; links stay links, and what is no file, directory or link is left out.

    Blocks.  Raises OSError: it is not there or cannot be read; ValueError: it is neither file nor directory.
    """
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise ValueError(f"{path} is neither a file nor a directory")
    yield from _pack_one(path, _ROOT, os.stat(path))
    if stat.S_ISDIR(kind):
        yield from _pack_below(path, _ROOT)
    # The root once more: tar alone does not tell a stream that was cut between two entries from a whole one.
    end = tarfile.TarInfo(_ROOT)
    end.type = tarfile.DIRTYPE
    yield end.tobuf(tarfile.PAX_FORMAT)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _pack_below(folder: str, name: str) -> Iterator[bytes]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            inside = f"{name}/{entry.name}"
            yield from _pack_one(entry.path, inside, entry.stat(follow_symlinks=False))
            if entry.is_dir(follow_symlinks=False):
                yield from _pack_below(entry.path, inside)


def _pack_one(path: str, name: str, facts: os.stat_result) -> Iterator[bytes]:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = stat.S_IMODE(facts.st_mode), int(facts.st_mtime)
    if stat.S_ISDIR(facts.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(facts.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISREG(facts.st_mode):
        yield from _pack_file(path, entry)
        return
    else:
        return
    yield entry.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")


def _pack_file(path: str, entry: tarfile.TarInfo) -> Iterator[bytes]:
    with open(path, "rb") as file:
        left = entry.size = os.fstat(file.fileno()).st_size
        yield entry.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
        while left:
            data = file.read(min(_CHUNK, left))
            if not data:
                raise OSError(f"{path} became {left} bytes shorter while it was read; copy it again")
            left -= len(data)
            yield data
    if padding := -entry.size % tarfile.BLOCKSIZE:
        yield b"\0" * padding


async def unpack(chunks: AsyncIterator[bytes], target: str, name: str = "") -> str:
    """Unpack a stream as it comes; the path that its root has got.

    If `target` is a directory and there is a `name`, the root goes into it under that name; else it becomes `target`.
    Parents are created, files are replaced, a directory's other files stay.

    Raises OSError; tarfile.TarError: it is no whole stream of `pack`, or leads outside; what `chunks` raises.
    """
    stream = _Stream(chunks)
    try:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, _unpack, stream, target, name)
    finally:
        stream.close()


class _Stream:
    """Chunks of a loop, for a thread to read."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._next: Future[bytes] | None = None
        self._is_closed = False
        self._headroom = math.inf
        self._lock = Lock()  # what the loop closes is either not asked for any more, or known as `_next`

    def read(self, _size: int) -> bytes:
        """The next chunk, of whatever size; empty at the end."""
        with self._lock:
            if self._is_closed:
                raise tarfile.ReadError("nobody wants the rest")
            self._next = asyncio.run_coroutine_threadsafe(self._pull(), self._loop)
        data = self._next.result()
        if self._headroom < 0:
            raise tarfile.ReadError(f"a header of more than {_HEADER_LIMIT} bytes")
        self._headroom -= len(data)
        return data

    def expect_header(self) -> None:
        """What comes next is an entry's header, which is to be short: whatever it is called is kept in memory."""
        self._headroom = _HEADER_LIMIT

    def expect_content(self) -> None:
        """What comes next goes to the disk, however much it is."""
        self._headroom = math.inf

    async def _pull(self) -> bytes:
        async for chunk in self._chunks:
            if chunk:
                return chunk
        return b""

    def close(self) -> None:
        """Wake the thread, which ends."""
        with self._lock:
            self._is_closed = True
            if self._next is not None:
                self._next.cancel()


def _unpack(stream: _Stream, target: str, name: str) -> str:
    root = os.path.join(target, name) if name and os.path.isdir(target) else target
    os.makedirs(os.path.dirname(os.path.abspath(root)), exist_ok=True)
    folders: list[tuple[str, int]] = []
    is_whole = False
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", bufsize=_CHUNK) as archive:
        for position in count():
            stream.expect_header()
            entry = archive.next()
            archive.members = []  # type: ignore[attr-defined]  # unknown to typeshed; tarfile would keep them all
            if entry is None:
                break
            if entry.name == _ROOT and position > 0:
                is_whole = True
                break
            path = _place(root, entry)
            if entry.isdir():
                os.makedirs(path, exist_ok=True)
                folders.append((path, entry.mode))
            elif entry.issym():
                _make_room(path)
                os.symlink(entry.linkname, path)
            elif entry.isreg() and not entry.issparse():  # of holes a few bytes would fill the disk
                stream.expect_content()
                _write(archive, entry, path)
            else:
                raise tarfile.ReadError(f"{entry.name!r} is neither file, directory nor symbolic link")
    if not is_whole:
        raise tarfile.ReadError("the stream was cut short; copy it again")
    # Last, and inside out: a folder that may not be written could not have been filled.
    for path, mode in reversed(folders):
        os.chmod(path, stat.S_IMODE(mode))
    return root


def _place(root: str, entry: tarfile.TarInfo) -> str:
    """Where an entry goes: below the root, and by no link, since a stream may hold a link and then what goes there."""
    first, *words = entry.name.split("/")
    if first != _ROOT or any(word in ("", ".", "..") for word in words) or (entry.issym() and not words):
        raise tarfile.ReadError(f"{entry.name!r} leads outside of what is copied")
    path = root
    for position, word in enumerate(words, 1):
        path = os.path.join(path, word)
        if (position < len(words) or entry.isdir()) and os.path.islink(path):
            raise tarfile.ReadError(f"{path} is a link, and nothing is written through one")
    return path


def _make_room(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _write(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
    content = archive.extractfile(entry)
    assert content is not None
    _make_room(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
        os.fchmod(fd, stat.S_IMODE(entry.mode))
