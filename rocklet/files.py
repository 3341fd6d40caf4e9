"""Files by their absolute paths: whole texts, and streams of bytes.  All of it blocks; the engine uses threads."""

from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import logging
import os
import secrets
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Protocol

from rock.wire.archives import pack, unpack
from rock.wire.errors import FileAccess, FileNotFound, InvalidRequest, RockException, TooLarge
from rock.wire.messages import (
    DownloadRequest,
    FileContent,
    FileFacts,
    ReadFileRequest,
    Unpacked,
    UnpackRequest,
    WriteFileRequest,
)
from rocklet.faults import find_exhaustion

__all__ = [
    "Download",
    "Packing",
    "Replacement",
    "Stream",
    "explained",
    "open_download",
    "open_regular",
    "read_text",
    "unpack_into",
    "write_text",
]

log = logging.getLogger(__name__)

_BYTES = "application/octet-stream"
_CHUNK = 2**18  # bytes

_freeing = ThreadPoolExecutor(1, "freeing")
"""Closes what is the last to hold a file's blocks: to free them takes the kernel longer than all else that is done."""


def read_text(request: ReadFileRequest, limit: int) -> FileContent:
    """A file of at most `limit` bytes as text, with its line ends as they are.

    Raises FileNotFound, FileAccess, TooLarge, InvalidRequest (encoding).
    """
    _check_encoding(request.encoding)
    with explained(request.path), open_regular(request.path) as file:
        # As much as it has, for so much memory is taken, and what was written meanwhile.
        data = file.read(min(os.fstat(file.fileno()).st_size, limit))
        while len(data) <= limit and (more := file.read(_CHUNK)):
            data += more
    if len(data) > limit:
        message = f"{request.path} is larger than {limit} bytes; download it, or raise ROCKLET_READ_BYTES"
        raise TooLarge(message, details={"limit": limit})
    try:
        return FileContent(content=data.decode(request.encoding, request.errors), size=len(data))
    except UnicodeError as error:
        raise FileAccess(
            f"{request.path} is no {request.encoding} text: {error}; say another encoding or errors, or download it",
            details={"path": request.path},
        ) from error


def write_text(request: WriteFileRequest) -> FileFacts:
    """Replace a file by a text.

    Raises FileAccess, InvalidRequest (encoding, or a text it cannot say).
    """
    _check_encoding(request.encoding)
    try:
        data = request.content.encode(request.encoding)
    except UnicodeError as error:
        raise InvalidRequest(
            f"content cannot be written as {request.encoding}: {error}; say another encoding",
            details={"field": "encoding", "value": request.encoding, "expected": "an encoding that can say it"},
        ) from error
    with Replacement(request.path, request.mode, digested=False) as replacement:
        replacement.write(data)
        return replacement.commit()


class Replacement:
    """A file that takes another's place in one step, when it is committed; until then, and otherwise, nothing changes.

    `digested`: whether its SHA-256 is taken on the way, half of what it costs to write a megabyte.
    Raises FileAccess.
    """

    def __init__(self, path: str, mode: int | None, *, digested: bool = True) -> None:
        self._path = path
        self._size = 0
        self._digest = hashlib.sha256() if digested else None
        self._is_committed = False
        self._mode = mode
        self._present, self._fd = -1, -1

    def open(self) -> None:
        """Begin; whatever comes of it, `close` has to follow."""
        with explained(self._path):
            self._target = os.path.realpath(self._path)  # a link stays a link
            self._present = _open_present(self._target)
            parent = os.path.dirname(self._target)
            os.makedirs(parent, exist_ok=True)
            # Beside its target, or the last step would be no rename; 0600 until it has its own mode.
            self._temporary = os.path.join(parent, f".rocklet-{secrets.token_hex(8)}")
            self._fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Replacement:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        if self._digest is not None:
            self._digest.update(data)
        self._size += len(data)
        view = memoryview(data)
        with explained(self._path):
            while view:
                view = view[os.write(self._fd, view) :]

    def commit(self, sha256: str | None = None) -> FileFacts:
        """Take the target's place, if the bytes have the digest that was promised."""
        digest = None if self._digest is None else self._digest.hexdigest()
        if sha256 is not None and sha256 != digest:
            raise InvalidRequest(
                f"the body's SHA-256 is {digest}, not {sha256}; nothing was replaced; send it again",
                details={"field": "sha256", "value": sha256, "expected": digest},
            )
        with explained(self._path):
            present_mode = 0o666 & ~_UMASK
            if self._present >= 0:
                present = os.fstat(self._present)
                present_mode = stat.S_IMODE(present.st_mode)
                with contextlib.suppress(PermissionError):  # who is not root cannot give files away
                    os.fchown(self._fd, present.st_uid, present.st_gid)
            os.fchmod(self._fd, present_mode if self._mode is None else self._mode)
            os.rename(self._temporary, self._target)
        self._is_committed = True
        return FileFacts(path=self._path, size=self._size, sha256=digest)

    def close(self) -> None:
        """Let go; what was not committed leaves nothing behind."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if not self._is_committed:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary)
        if self._present >= 0:
            with contextlib.suppress(RuntimeError):  # no process can be started: it is closed with the next one
                _freeing.submit(os.close, self._present)
            self._present = -1


class Stream(Protocol):
    """Bytes to be read once."""

    length: int | None
    """Bytes; None if nobody can tell before."""
    sha256: str | None
    content_type: str

    def read(self) -> bytes:
        """The next bytes; empty at the end.  Blocks."""
        ...

    @property
    def is_cut(self) -> bool:
        """Whether it ended before it should have."""
        ...

    async def grew(self) -> bool:
        """At the end, whether to read on; a stream that somebody still writes to waits until it knows."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class Download:
    """A part of a file, to be read once."""

    content_type = _BYTES

    def __init__(self, file: BinaryIO, length: int, sha256: str | None) -> None:
        self._file = file
        self.length: int | None = length
        self.sha256 = sha256
        self._left = length

    def read(self) -> bytes:
        """The next bytes; empty at the end, and early if the file has shrunk meanwhile."""
        data = self._file.read(min(_CHUNK, self._left))
        self._left -= len(data)
        return data

    @property
    def is_cut(self) -> bool:
        """Whether the file has shrunk meanwhile; after the last read."""
        return self._left > 0

    async def grew(self) -> bool:
        """No: what is written later was not asked for."""
        return False

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Packing:
    """A file or a directory as a stream of `rock.wire.archives`.

    Raises FileNotFound, FileAccess.
    """

    length: int | None = None
    sha256: str | None = None
    content_type = _BYTES

    def __init__(self, path: str) -> None:
        self._path = path
        self._pieces = pack(path)
        self.is_cut = False
        with explained(path):
            try:
                self._first = next(self._pieces)
            except ValueError as error:
                raise FileAccess(f"{error}; only these are copied", details={"path": path}) from error

    def read(self) -> bytes:
        """The next bytes; empty at the end, and early if something below cannot be read, which is logged."""
        first, self._first = self._first, b""
        if first:
            return first
        try:
            return next(self._pieces, b"")
        except OSError as error:
            log.warning("%s cannot be copied whole: %s", self._path, error)
            self.is_cut = True
            return b""

    async def grew(self) -> bool:
        """No."""
        return False

    def close(self) -> None:
        """Let go."""
        self._pieces.close()


async def unpack_into(request: UnpackRequest, chunks: AsyncIterator[bytes]) -> Unpacked:
    """Unpack a stream of `rock.wire.archives`.

    Raises FileAccess; InvalidRequest: it is none.
    """
    try:
        with explained(request.path):
            return Unpacked(path=await unpack(chunks, request.path, request.name))
    except tarfile.TarError as error:
        raise InvalidRequest(
            f"the body is no archive that can be unpacked here: {error}",
            details={"field": "$", "value": "", "expected": "a tar stream with one root"},
        ) from error


_: tuple[type[Stream], ...] = (Download, Packing)


def open_download(request: DownloadRequest) -> Download:
    """A file, or the part of it that is asked for.

    Raises FileNotFound, FileAccess, InvalidRequest (relative path).
    """
    with explained(request.path):
        file = open_regular(request.path)
        try:
            size = os.fstat(file.fileno()).st_size
            left = max(size - request.offset, 0)
            length = left if request.length is None else min(request.length, left)
            digest = _digest_of(file, request.offset, length) if request.sha256 else None
            file.seek(request.offset)
        except BaseException:
            file.close()
            raise
    return Download(file, length, digest)


def _digest_of(file: BinaryIO, offset: int, length: int) -> str:
    digest = hashlib.sha256()
    file.seek(offset)
    while length > 0 and (data := file.read(min(_CHUNK, length))):
        digest.update(data)
        length -= len(data)
    return digest.hexdigest()


def open_regular(path: str) -> BinaryIO:
    """A regular file, open for reading.

    Raises FileNotFound, FileAccess.
    """
    with explained(path):
        # O_NONBLOCK: a FIFO without a writer would hold the thread for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return open(fd, "rb", buffering=0)
    os.close(fd)
    what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
    raise FileAccess(f"{path} is {what}; only regular files can be read", details={"path": path})


def _open_present(path: str) -> int:
    """A hold on the file that is there; -1 if none is."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
    raise FileAccess(f"{path} is {what} and cannot be replaced; give a file's path", details={"path": path})


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()  # once, while there are no threads: it cannot be read without being set


def _check_encoding(name: str) -> None:
    try:
        is_text = codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        raise InvalidRequest(
            f"encoding is {name!r}; it must be a text encoding that Python knows, such as utf-8 or latin-1",
            details={"field": "encoding", "value": name, "expected": "a text encoding"},
        )


_REMEDIES = {
    errno.EISDIR: "it is a directory; give a file's path",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EACCES: "permission denied; use another path, or run chmod first",
    errno.EPERM: "permission denied; use another path, or run chmod first",
    errno.ENOSPC: "the disk is full; delete something, or ask for more disk",
    errno.EDQUOT: "the disk quota is used up; delete something, or ask for more disk",
    errno.ENAMETOOLONG: "the name is too long; use a shorter one",
    errno.EROFS: "the file system is read-only; use another path",
    errno.ELOOP: "too many symbolic links; give the file's own path",
}


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what the kernel says into errors of the wire."""
    try:
        yield
    except RockException:
        raise
    except FileNotFoundError as error:
        raise FileNotFound(f"there is no file {path}; check the path", details={"path": path}) from error
    except OSError as error:
        if (exhausted := find_exhaustion(error)) is not None:
            raise exhausted from error
        said = _REMEDIES.get(error.errno or 0, f"{error.strerror}; use another path")
        raise FileAccess(f"{path} cannot be used: {said}", details={"path": path}) from error
