"""Which HTTP headers pass through a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from multidict import CIMultiDict

__all__ = ["to_client", "to_port", "to_rocklet"]

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
"""Between two neighbours only.  Source: RFC 9110 section 7.6.1."""

_OURS = frozenset(
    {"authorization", "xrl-authorization", "x-api-key", "cookie", "host", "expect", "forwarded", "x-forwarded-for"}
)
"""What a client says to the gateway and a sandbox must not learn: above all its key."""

_KEYS = _OURS - {"cookie"}
"""The same for a server in a sandbox, whose cookies are its own."""

_SERVERS = frozenset({"server", "date"})
"""What the gateway says of itself."""


def to_rocklet(headers: Mapping[str, str], ours: Mapping[str, str]) -> CIMultiDict[str]:
    """A client's headers as the rocklet gets them, `ours` in place of the client's."""
    passed = _pass(headers, _OURS)
    passed.update(ours)
    return passed


def to_port(headers: Mapping[str, str], ours: Mapping[str, str]) -> CIMultiDict[str]:
    """A client's headers as a server in a sandbox gets them; a WebSocket's handshake is between neighbours too."""
    handshake = {name.lower() for name in headers if name.lower().startswith("sec-websocket-")}
    passed = _pass(headers, _KEYS | handshake)
    passed.update(ours)
    return passed


def to_client(headers: Mapping[str, str], ours: Mapping[str, str] = MappingProxyType({})) -> CIMultiDict[str]:
    """A rocklet's headers as the client gets them, `ours` in place of the rocklet's."""
    passed = _pass(headers, _SERVERS)
    passed.update(ours)
    return passed


def _pass(headers: Mapping[str, str], withheld: frozenset[str]) -> CIMultiDict[str]:
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    dropped = _HOP_BY_HOP | withheld | named
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)
