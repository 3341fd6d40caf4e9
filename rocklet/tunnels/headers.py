"""Which HTTP headers pass between a caller and a server in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping

from multidict import CIMultiDict

from rock.wire.tunnels import TOKEN_HEADER

__all__ = ["pass_headers"]

_NEVER = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}  # between two neighbours only.  Source: RFC 9110 section 7.6.1
    | {"host", "expect", TOKEN_HEADER.lower()}  # said to the rocklet
)


def pass_headers(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that pass, in either direction.

    An `Authorization` does if the token stood elsewhere; otherwise it is the token.
    """
    token = set() if TOKEN_HEADER in headers else {"authorization"}
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    dropped = _NEVER | token | named
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped and not name.lower().startswith("sec-websocket-")
    )
