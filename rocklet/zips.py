"""Zip archives, unpacked within limits and never outside of their target.  All of it blocks; callers use threads."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from typing import BinaryIO, Literal

import msgspec

from rock.wire.errors import FileAccess, InvalidRequest, LimitReached

__all__ = ["ZipLimits", "unzip"]

_CHUNK = 2**18  # bytes
_PERMISSIONS = 0o777
_ENTRY_BYTES = 128  # of an archive's directory for each file: 46, its name, and what else packers note
_END = b"PK\5\6"
_END_SIZE = 22 + 0xFFFF  # bytes of the record that ends an archive, with the longest comment
_ZIP64_SIZE = 56 + 20  # bytes of the two records before that one, in an archive that needs them
# What zipfile raises for a file that is damaged (a name that is empty: IndexError), encrypted (RuntimeError) or made by
# a method that it does not know.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, IndexError, ValueError, RuntimeError)


class ZipLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive may bring."""

    files: int
    unpacked_bytes: int
    """All files together, counted as they are written: what an archive says of itself is not believed."""


def unzip(archive: BinaryIO, folder: str, limits: ZipLimits) -> None:
    """Unpack an archive into a folder, which is made; what is there already is written over, through no link.

    What has been unpacked when an error is met stays.
    Raises InvalidRequest: it is no zip, or an entry leads out of the folder; LimitReached; FileAccess.
    """
    try:
        if _directory_bytes(archive) > limits.files * _ENTRY_BYTES:
            raise _limit("files", limits.files)
        with zipfile.ZipFile(archive) as entries:
            _Unzipping(entries, folder, limits).run()
    except _BROKEN as error:
        raise InvalidRequest(
            f"the file is no zip archive that can be unpacked: {error}; make it again",
            details={"field": "file", "expected": "a zip archive, not encrypted"},
        ) from error
    except OSError as error:
        raise FileAccess(f"{folder} cannot be unpacked into: {error}", details={"path": folder}) from error


class _Unzipping:
    """One archive on its way to one folder."""

    def __init__(self, entries: zipfile.ZipFile, folder: str, limits: ZipLimits) -> None:
        self._entries = entries
        self._folder = os.path.realpath(folder)
        self._limits = limits
        self._left = limits.unpacked_bytes

    def run(self) -> None:
        """Unpack it."""
        listed = self._entries.infolist()
        if len(listed) > self._limits.files:
            raise _limit("files", self._limits.files)
        os.makedirs(self._folder, exist_ok=True)
        for entry in listed:
            target = self._target(entry.filename)
            if entry.is_dir():
                os.makedirs(target, exist_ok=True)
            else:
                self._write(entry, target)

    def _target(self, name: str) -> str:
        """Where an entry goes; a link that an earlier entry found in the folder is followed, and must stay within."""
        target = os.path.realpath(os.path.join(self._folder, name))
        if target != self._folder and not target.startswith(self._folder.rstrip("/") + "/"):
            raise InvalidRequest(
                f"the archive's entry {name[:200]!r} leads out of {self._folder}; make it without .. and links",
                details={"field": "file", "value": name[:200], "expected": "entries within the target"},
            )
        return target

    def _write(self, entry: zipfile.ZipInfo, target: str) -> None:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with self._entries.open(entry) as source, open(target, "wb") as file:
            while chunk := source.read(_CHUNK):
                self._left -= len(chunk)
                if self._left < 0:
                    raise _limit("bytes", self._limits.unpacked_bytes)
                file.write(chunk)
        permissions = stat.S_IMODE(entry.external_attr >> 16) & _PERMISSIONS
        if permissions:
            os.chmod(target, permissions)


def _directory_bytes(archive: BinaryIO) -> int:
    """How long an archive's directory is, which zipfile reads whole, with an object for each entry; 0: it has none.

    Source: APPNOTE.TXT 4.3.14 to 4.3.16, and zipfile's own reading of it, which goes by this size and no count.
    """
    archive.seek(max(archive.seek(0, os.SEEK_END) - _END_SIZE - _ZIP64_SIZE, 0))
    tail = archive.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 16:
        return 0
    size: int = struct.unpack_from("<L", tail, at + 12)[0]
    if at >= _ZIP64_SIZE and tail[at - 20 :].startswith(b"PK\6\7"):
        size = max(size, struct.unpack_from("<Q", tail, at - _ZIP64_SIZE + 40)[0])
    return size


def _limit(name: Literal["files", "bytes"], value: int) -> LimitReached:
    return LimitReached(
        f"the archive has more than {value} {name}; send it in parts, or raise ROCKLET_ARCHIVE_{name.upper()}",
        details={"limit": f"archive_{name}", "value": value},
    )
