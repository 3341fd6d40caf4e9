"""Who may call: API keys, read again when their file changes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import replace
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
        """The caller whose key these headers show; of several, the first one that is known.

        Raises Unauthorized.
        """
        shown = shown_keys(headers)
        if not shown:
            raise Unauthorized("no API key was sent; send it as Authorization: Bearer or X-API-Key")
        known = {header: key for header, text in shown.items() if (key := self._find(text)) is not None}
        if not known:
            raise Unauthorized("this API key is not known here; ask the cluster's operator for one")
        key = next(iter(known.values()))
        theirs = headers.get("Authorization") if "Authorization" not in known else None
        return Caller(name=key.name, tenant=key.tenant, role=key.role, authorization=theirs)

    def _find(self, shown: str) -> ApiKey | None:
        digest = sha256_hex(shown)
        # Every entry is compared, so that the time says nothing about which one came near.
        matching = [key for key in self._current() if hmac.compare_digest(key.sha256, digest)]
        return matching[0] if matching else None

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

    def __init__(self, keys: ApiKeys | None = None, tenant: str = "default") -> None:
        self._keys = keys
        self._caller = Caller(name="open", tenant=tenant, role="user")

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """Always the same caller; a key that is shown all the same is kept from servers behind ports."""
        theirs = headers.get("Authorization")
        if self._keys is not None:
            with contextlib.suppress(Unauthorized):
                theirs = self._keys.identify(headers).authorization
        return replace(self._caller, authorization=theirs)


def shown_keys(headers: Mapping[str, str]) -> dict[str, str]:
    """What may be the key of a request, by the header where it stands.

    It comes as `Authorization: Bearer`; as the password of `Basic`, which clients make of `http://any:KEY@host`; as
    `XRL-Authorization: Bearer`, ROCK's own; or as `X-API-Key`.
    """
    found = {}
    for header in ("Authorization", "XRL-Authorization"):
        scheme, _, said = headers.get(header, "").partition(" ")
        if scheme.lower() == "bearer":
            found[header] = said.strip()
        if scheme.lower() == "basic":
            found[header] = _password(said)
    found["X-API-Key"] = headers.get("X-API-Key", "").strip()
    return {header: text for header, text in found.items() if text}


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
