"""Which HTTP headers pass between a caller and a server in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping

from multidict import CIMultiDict

__all__ = ["pass_headers"]

_NEVER = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}  # between two neighbours only.  Source: RFC 9110 section 7.6.1
    | {"authorization", "host", "expect"}  # said to the rocklet; the token above all
)


def pass_headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that pass, in either direction."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    dropped = _NEVER | named
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped and not name.lower().startswith("sec-websocket-")
    )
