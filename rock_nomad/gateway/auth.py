"""Who may call: API keys, read again when their file changes."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rock.wire.errors import Unauthorized
from rock_nomad.config import ApiKey, ConfigError, load_api_keys
from rock_nomad.gateway.calls import Caller
from rock_nomad.tokens import sha256_hex

__all__ = ["ApiKeys", "Authenticator", "OpenDoor"]

log = logging.getLogger(__name__)

_Version = tuple[int, int, int]


class Authenticator(Protocol):
    """Says who calls."""

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller that these headers show.

        Raises Unauthorized.
        """
        ...


class ApiKeys:
    """The table of API keys, as its file has it now.  A file that turns bad leaves the last good table in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = _version(path)
        self._keys = load_api_keys(path)

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller whose key these headers show, as `shown_key` finds it.

        Raises Unauthorized.
        """
        shown = shown_key(headers)
        if not shown:
            raise Unauthorized("no API key was sent; send it as Authorization: Bearer or X-API-Key")
        digest = sha256_hex(shown)
        # Every entry is compared, so that the time says nothing about which one came near.
        matching = [key for key in self._current() if hmac.compare_digest(key.sha256, digest)]
        if not matching:
            raise Unauthorized("this API key is not known here; ask the cluster's operator for one")
        return Caller(name=matching[0].name, tenant=matching[0].tenant, role=matching[0].role)

    def _current(self) -> tuple[ApiKey, ...]:
        version = _version(self._path)
        if version != self._version:
            self._version = version
            try:
                self._keys = load_api_keys(self._path)
                log.info("API keys read again: %d", len(self._keys))
            except ConfigError:
                log.exception("the API keys cannot be read; those read before stay in force")
        return self._keys


class OpenDoor:
    """Lets everybody in, as one tenant: only for a gateway that this machine alone can reach."""

    def __init__(self, tenant: str = "default") -> None:
        self._caller = Caller(name="open", tenant=tenant, role="user")

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Always the same caller."""
        return self._caller


def shown_key(headers: Mapping[str, str]) -> str:
    """The key that a request shows, or an empty text.

    It comes as `Authorization: Bearer`; as the password of `Basic`, which clients make of `http://any:KEY@host`; as
    `XRL-Authorization: Bearer`, ROCK's own; or as `X-API-Key`.
    """
    for header in ("Authorization", "XRL-Authorization"):
        scheme, _, said = headers.get(header, "").partition(" ")
        if scheme.lower() == "bearer":
            return said.strip()
        if scheme.lower() == "basic":
            return _password(said)
    return headers.get("X-API-Key", "").strip()


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _version(path: Path) -> _Version:
    """What changes when a file is written or replaced."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)
