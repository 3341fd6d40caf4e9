"""Where the gateway is and what to show it.  The only module of `rock` that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from rock import _proxies
from rock._credentials import Credentials, read_credentials
from rock.wire.errors import BadRequestRockError
from rock.wire.spec import DEFAULT_STARTUP_TIMEOUT

__all__ = [
    "GatewayAddress",
    "credentials_path",
    "default_base_url",
    "default_cluster",
    "default_direct",
    "default_startup_timeout",
    "find_gateway",
    "find_proxy",
    "is_rock_variable_set",
    "rock_variable",
]

_FALLBACK_URL = "http://localhost:8080"  # ROCK's default
_DEFAULT_PORTS = {"http": 80, "https": 443}


class GatewayAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway's address, without user part and trailing slash, and the key it is shown."""

    url: str
    api_key: str | None = None

    def __repr__(self) -> str:
        return f"GatewayAddress(url={self.url!r})"


def default_base_url() -> str:
    """$ROCK_BASE_URL, else the credentials file's address, else ROCK's default."""
    if base_url := os.environ.get("ROCK_BASE_URL"):
        return base_url
    credentials = read_credentials(credentials_path())
    return credentials.base_url if credentials else _FALLBACK_URL


def find_gateway(base_url: str, api_key: str | None = None) -> GatewayAddress:
    """A gateway's address and its key.

    The key is, in this order: the one given, the address's password (`http://x:KEY@host:port`), $ROCK_API_KEY, and the
    credentials file's if it was written for this very address.

    Raises BadRequestRockError: the address or the credentials file must be corrected.
    """
    parts = _split(base_url)
    api_key = api_key or unquote(parts.password or "") or os.environ.get("ROCK_API_KEY")
    if not api_key:
        credentials = read_credentials(credentials_path())
        api_key = credentials.api_key if credentials and _is_for(credentials, parts) else None
    host = parts.netloc.rpartition("@")[2]
    return GatewayAddress(url=f"{parts.scheme}://{host}{parts.path.rstrip('/')}", api_key=api_key)


def credentials_path() -> Path:
    """$ROCK_CREDENTIALS_FILE, or the place in the home directory."""
    if path := os.environ.get("ROCK_CREDENTIALS_FILE"):
        return Path(path)
    return Path("~/.config/rock-nomad/credentials.json").expanduser()


def default_startup_timeout() -> float:
    """$ROCK_SANDBOX_STARTUP_TIMEOUT_SECONDS, or ROCK's default; seconds."""
    value = os.environ.get("ROCK_SANDBOX_STARTUP_TIMEOUT_SECONDS") or DEFAULT_STARTUP_TIMEOUT
    try:
        return float(value)
    except ValueError as error:
        raise BadRequestRockError(
            f"ROCK_SANDBOX_STARTUP_TIMEOUT_SECONDS is {value!r}; it must be a number of seconds"
        ) from error


def default_cluster() -> str:
    """$ROCK_DEFAULT_CLUSTER, or ROCK's default."""
    return os.environ.get("ROCK_DEFAULT_CLUSTER") or "vpc-nt-a"


def default_direct() -> str:
    """$ROCK_DIRECT, or `auto`: whether actions go straight to the rocklet."""
    return os.environ.get("ROCK_DIRECT") or "auto"


def rock_variable(name: str) -> str | float | None:
    """One of ROCK's variables: its text, or for those that this client heeds what they mean here."""
    heeded: dict[str, Callable[[], str | float]] = {
        "ROCK_BASE_URL": default_base_url,
        "ROCK_DEFAULT_CLUSTER": default_cluster,
        "ROCK_SANDBOX_STARTUP_TIMEOUT_SECONDS": default_startup_timeout,
    }
    return heeded[name]() if name in heeded else os.environ.get(name)


def is_rock_variable_set(name: str) -> bool:
    """Whether the environment has one of ROCK's variables."""
    return name in os.environ


def find_proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL."""
    return _proxies.find_proxy(url, os.environ)


def _split(base_url: str) -> SplitResult:
    """An address in its parts."""
    try:
        parts = urlsplit(base_url)
        is_usable = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        is_usable = False
    if not is_usable:
        shown = base_url.rpartition("@")[2]  # what stands before it may be a key
        raise BadRequestRockError(f"base_url is {shown!r}; it must be http://host:port or https://host:port")
    return parts


def _is_for(credentials: Credentials, parts: SplitResult) -> bool:
    return _origin(_split(credentials.base_url)) == _origin(parts)


def _origin(parts: SplitResult) -> tuple[str, str, int, str]:
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return parts.scheme, (parts.hostname or ""), port, parts.path.rstrip("/")
