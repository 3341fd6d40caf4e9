"""The credentials file: one gateway's address and the key for it, readable by its owner alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from rock.wire.errors import BadRequestRockError

__all__ = ["Credentials", "read_credentials", "write_credentials"]


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the file.  The key goes to this address and no other."""

    base_url: str
    api_key: str

    def __repr__(self) -> str:
        return f"Credentials(base_url={self.base_url!r})"


def read_credentials(path: Path) -> Credentials | None:
    """What the file says; None where there is no file.

    Raises BadRequestRockError: others can read it, or it is not what `write_credentials` writes; the message says what
    to do.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadRequestRockError(f"the credentials file {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise BadRequestRockError(
            f"the credentials file {path} has mode {mode & 0o777:04o}: others may read the key; run `chmod 600 {path}`"
        )
    try:
        return msgspec.json.decode(content, type=Credentials)
    except msgspec.DecodeError as error:
        raise BadRequestRockError(
            f'the credentials file {path} is not {{"base_url": ..., "api_key": ...}}; '
            "write it anew (`rock-nomad dev` does), or remove it"
        ) from error


def write_credentials(path: Path, base_url: str, api_key: str) -> None:
    """Replace the file in one step; it is never readable by others, nor half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(Credentials(base_url=base_url, api_key=api_key)))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
