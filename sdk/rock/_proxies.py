"""Which proxy the environment names for an address.

aiohttp's own `trust_env` will not do: it matches NO_PROXY without ports, reads ~/.netrc, and ignores ALL_PROXY.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from rock.wire.errors import BadRequestRockError

__all__ = ["find_proxy"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def find_proxy(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy to reach a URL through, or None to go there directly.

    Lower-case variables win over upper-case ones, the scheme's own over ALL_PROXY.  An entry of NO_PROXY is `*`, a host
    name (which covers its subdomains), an address or a network; with `:port` it holds for that port alone.

    Raises BadRequestRockError: the proxy is of a kind that is not supported.
    """
    target = urlsplit(url)
    proxy = _read(environ, f"{target.scheme}_proxy") or _read(environ, "all_proxy")
    if not proxy or any(_covers(entry, target) for entry in _read(environ, "no_proxy").split(",")):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in _DEFAULT_PORTS:
        raise BadRequestRockError(
            f"the proxy for {target.scheme}://{target.hostname} is a {scheme} proxy; "
            f"name an http:// one, or put {target.hostname} into NO_PROXY"
        )
    return proxy


def _read(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _covers(entry: str, target: SplitResult) -> bool:
    entry = entry.strip().lower()
    host = (target.hostname or "").rstrip(".")
    if entry in ("", "*"):
        return entry == "*"
    if _network_covers(entry, host):
        return True
    name, port = _split_port(entry)
    if port is not None and port != (target.port or _DEFAULT_PORTS.get(target.scheme)):
        return False
    name = name.removeprefix("*").lstrip(".").rstrip(".")
    return host == name or host.endswith(f".{name}")


def _network_covers(entry: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False  # a name, or an entry with a port


def _split_port(entry: str) -> tuple[str, int | None]:
    """`host:port` apart; brackets around an IPv6 address go."""
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        return name.strip("[]"), int(port)
    return entry.strip("[]"), None
