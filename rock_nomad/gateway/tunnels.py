"""Tunnels to servers and terminals in sandboxes, passed on in both directions as they come.

What passes here is nobody's operation, so nothing is sent a second time once a rocklet may have seen it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from rock.wire.codec import decode
from rock.wire.errors import ErrorBody, SandboxUnreachable, from_body, unanswered
from rock.wire.messages import RockletEndpoint
from rock.wire.operations import REQUEST_ID_HEADER
from rock.wire.tunnels import PORT_HEADER, TOKEN_HEADER, refusal_from_headers
from rock_nomad.gateway import headers
from rock_nomad.gateway.body import take_body
from rock_nomad.gateway.calls import current_caller, current_request_id
from rock_nomad.gateway.proxy import NOT_THERE, pass_down
from rock_nomad.gateway.resolver import Resolver
from rock_nomad.gateway.rocklets import StaleAddress
from rock_nomad.gateway.websockets import CLOSE_TIMEOUT, MESSAGE_LIMIT, accept, is_websocket, join

__all__ = ["Refused", "Target", "Tunnels", "offered_protocols", "relocate"]

ATTEMPTS = 2  # a stale address, and the one that counts

_T = TypeVar("_T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a tunnel leads."""

    tenant: str
    sandbox_id: str
    path: str
    """At the rocklet, encoded."""
    root: str = ""
    """The path at this gateway that is `/` to the server behind it."""


class Refused(Exception):
    """The server in the sandbox does not want this WebSocket; `status` and `headers` are its own."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"the server answered {status}")
        self.status, self.headers = status, headers


class Tunnels:
    """Opens tunnels, and streams until they end."""

    def __init__(self, session: aiohttp.ClientSession, resolver: Resolver) -> None:
        self._session, self._resolver = session, resolver

    async def relay(self, request: web.Request, target: Target) -> web.StreamResponse:
        """The answer to a request or a WebSocket, as it comes.

        Raises what the rocklet says against it, how the sandbox ended, SandboxUnreachable, OutcomeUnknown.
        """
        if is_websocket(request):
            return await self._join(request, target)
        return await self._exchange(request, target)

    async def open(
        self, request: web.Request, target: Target, *, protocols: Sequence[str] = ()
    ) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket to where the client's request leads.

        Raises Refused, and what `relay` raises.
        """

        async def connect(endpoint: RockletEndpoint) -> aiohttp.ClientWebSocketResponse:
            try:
                return await self._session.ws_connect(
                    _url(request, target, endpoint),
                    protocols=protocols,
                    headers=_headers(request, endpoint),
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT),
                    autoclose=False,
                    autoping=False,
                    max_msg_size=MESSAGE_LIMIT,
                )
            except aiohttp.WSServerHandshakeError as error:
                said: Mapping[str, str] = error.headers or {}
                _check_origin(error.status, said, endpoint)
                raise refusal_from_headers(said, error.status) or Refused(error.status, said) from error

        return await self._reach(target, connect)

    async def _join(self, request: web.Request, target: Target) -> web.StreamResponse:
        try:
            server = await self.open(request, target, protocols=offered_protocols(request))
        except Refused as refused:
            passed = headers.to_client(refused.headers)
            passed.popall("Content-Length", None)  # of a body that nobody has seen
            return web.Response(status=refused.status, headers=passed)
        async with server:
            client = await accept(request, {}, protocols=[server.protocol] if server.protocol else [])
            await join(client, server)
            return client

    async def _exchange(self, request: web.Request, target: Target) -> web.StreamResponse:
        body = await take_body(request)

        async def send(endpoint: RockletEndpoint) -> web.StreamResponse:
            if body is not None and not body.can_be_sent_again:
                raise SandboxUnreachable(
                    f"the rocklet of sandbox {target.sandbox_id} was lost while a large body was sent; send it again",
                    details={"sandbox_id": target.sandbox_id, "executed": "no"},
                )
            async with self._session.request(
                request.method,
                _url(request, target, endpoint),
                headers=_headers(request, endpoint),
                data=body.content() if body is not None else None,
                allow_redirects=False,
            ) as reply:
                _check_origin(reply.status, reply.headers, endpoint)
                if reply.status >= 400 and PORT_HEADER not in reply.headers and request.method != "HEAD":
                    raise from_body(decode(ErrorBody, await reply.read()), reply.status)
                moved, port = reply.headers.get("Location"), reply.headers.get(PORT_HEADER, "")
                ours = {"Location": relocate(moved, target.root, port)} if moved is not None else {}
                return await pass_down(request, reply, ours)

        return await self._reach(target, send)

    async def _reach(self, target: Target, attempt: Callable[[RockletEndpoint], Awaitable[_T]]) -> _T:
        """What comes of an attempt at the sandbox's rocklet, at a fresh address if nobody was at the known one."""
        for _ in range(ATTEMPTS):
            endpoint = await self._resolver.resolve(target.tenant, target.sandbox_id)
            try:
                return await attempt(endpoint)
            except NOT_THERE as error:
                log.info("sandbox %s is not at %s: %s", target.sandbox_id, endpoint.url, type(error).__name__)
                self._resolver.forget(target.tenant, endpoint)
            except aiohttp.ClientError as error:
                lost = f"the rocklet of sandbox {target.sandbox_id} was lost after the request was sent"
                why = await self._resolver.why_gone(target.tenant, target.sandbox_id)
                raise unanswered(lost, why, {"sandbox_id": target.sandbox_id}) from error
        raise await self._resolver.why_gone(target.tenant, target.sandbox_id)


def offered_protocols(request: web.BaseRequest) -> list[str]:
    """The subprotocols that a client would speak on its WebSocket."""
    names = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [name.strip() for name in names.split(",") if name.strip()]


def relocate(location: str, root: str, port: str) -> str:
    """Where a server's redirection leads at this gateway, whose `root` is the server's `/`."""
    try:
        parts = urlsplit(location)
        is_own = parts.hostname in ("127.0.0.1", "localhost", "::1") and str(parts.port) == port
    except ValueError:
        return location
    if is_own:
        return root + urlunsplit(("", "", parts.path or "/", parts.query, parts.fragment))
    is_below = location.startswith("/") and not location.startswith((f"{root}/", "//"))
    return root + location if is_below else location


def _url(request: web.Request, target: Target, endpoint: RockletEndpoint) -> URL:
    query = request.rel_url.raw_query_string
    return URL(f"{endpoint.url}{target.path}?{query}".removesuffix("?"), encoded=True)


def _headers(request: web.Request, endpoint: RockletEndpoint) -> CIMultiDict[str]:
    ours = {TOKEN_HEADER: endpoint.token, REQUEST_ID_HEADER: current_request_id.get()}
    theirs = current_caller.get().authorization
    return headers.to_port(request.headers, {**ours, "Authorization": theirs} if theirs else ours)


def _check_origin(status: int, said: Mapping[str, str], endpoint: RockletEndpoint) -> None:
    """Let pass what the sandbox's rocklet says, or a server behind it.

    Raises StaleAddress: somebody else answers there.
    """
    if REQUEST_ID_HEADER not in said or (status == 401 and PORT_HEADER not in said):
        raise StaleAddress(endpoint.url)
