"""Zip archives, unpacked within limits and never outside of their target.  All of it blocks; callers use threads."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from typing import BinaryIO

import msgspec

from rock.wire.errors import FileAccess, InvalidRequest, LimitReached

__all__ = ["ZipLimits", "unzip"]

_CHUNK = 2**18  # bytes
_PERMISSIONS = 0o777
# What zipfile raises for a file that is damaged, encrypted (RuntimeError) or made by a method that it does not know.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError)


class ZipLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive may bring."""

    files: int = 1_000_000
    unpacked_bytes: int = 64 * 2**30
    """All files together, counted as they are written: what an archive says of itself is not believed."""


def unzip(archive: BinaryIO, folder: str, limits: ZipLimits) -> None:
    """Unpack an archive into a folder, which is made; what is there already is written over, through no link.

    What has been unpacked when an error is met stays.
    Raises InvalidRequest: it is no zip, or an entry leads out of the folder; LimitReached; FileAccess.
    """
    try:
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
                    raise _limit("unpacked_bytes", self._limits.unpacked_bytes)
                file.write(chunk)
        permissions = stat.S_IMODE(entry.external_attr >> 16) & _PERMISSIONS
        if permissions:
            os.chmod(target, permissions)


def _limit(name: str, value: int) -> LimitReached:
    return LimitReached(
        f"the archive has more than {value} {name.replace('_', ' ')}; send it in parts",
        details={"limit": name, "value": value},
    )
