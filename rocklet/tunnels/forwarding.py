"""HTTP, WebSockets and TCP to a server in the sandbox, streamed in both directions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from rock.wire.errors import PortClosed
from rock.wire.operations import REQUEST_ID_HEADER
from rock.wire.tunnels import PORT_HEADER
from rocklet.tunnels.headers import pass_headers
from rocklet.tunnels.websockets import MESSAGE_LIMIT, accept, first_of, is_websocket, join

__all__ = ["Forwarding", "Way", "connect_tcp", "open_session"]

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 10.0  # seconds, on loopback: a server that is too busy to accept
_CHUNK = 2**16  # bytes


def open_session() -> aiohttp.ClientSession:
    """A session for servers in the sandbox: a connection for each call, no proxy, no cookies, bytes as they are."""
    return aiohttp.ClientSession(
        # A server that is started anew between two calls must not be met on a connection to the old one.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


@dataclass(frozen=True, slots=True)
class Way:
    """Where a server of the sandbox listens."""

    port: int
    hosts: Sequence[str]
    """Loopback addresses, the likeliest first."""

    def headers(self, request_id: str) -> dict[str, str]:
        """What we say of an answer that comes this way."""
        return {REQUEST_ID_HEADER: request_id, PORT_HEADER: str(self.port)}


class Forwarding:
    """HTTP and WebSockets to the sandbox's own servers."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def forward_http(self, request: web.BaseRequest, request_id: str, way: Way, path: str) -> web.StreamResponse:
        """The server's answer to a request or a WebSocket, as it comes; the path is as the caller has encoded it.

        Raises PortClosed.
        """
        query = request.rel_url.raw_query_string
        send = self._join_websocket if is_websocket(request) else self._exchange
        for host in way.hosts:
            target = URL(f"http://{_in_url(host)}:{way.port}/{path}?{query}".removesuffix("?"), encoded=True)
            try:
                return await send(request, target, way.headers(request_id))
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                log.debug("port %d is not at %s: %s", way.port, host, error)
            except aiohttp.ClientError as error:
                said = str(error) or type(error).__name__
                message = f"the server on port {way.port} did not answer as HTTP has it: {said}"
                raise PortClosed(message, details={"port": way.port}) from error
        raise _nobody(way.port)

    async def _exchange(self, request: web.BaseRequest, target: URL, ours: dict[str, str]) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            target,
            headers=pass_headers(request.headers),
            data=_read_chunks(request) if request.can_read_body else None,
            allow_redirects=False,
        ) as reply:
            response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=pass_headers(reply.headers))
            response.headers.update(ours)
            await response.prepare(request)
            try:
                async for chunk in reply.content.iter_any():
                    await response.write(chunk)
            except (aiohttp.ClientError, ConnectionError) as error:
                log.info("%s: the answer was cut on its way: %r", request.path, error)
                # A clean end would pass for the whole answer, so the caller's connection is cut as well.
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response

    async def _join_websocket(self, request: web.BaseRequest, target: URL, ours: dict[str, str]) -> web.StreamResponse:
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        try:
            server = await self._session.ws_connect(
                target,
                protocols=[name for name in offered if name],
                headers=pass_headers(request.headers),
                autoclose=False,
                autoping=False,
                max_msg_size=MESSAGE_LIMIT,
            )
        except aiohttp.WSServerHandshakeError as error:
            passed = pass_headers(error.headers or {})
            passed.popall("Content-Length", None)  # of a body that is not shown
            passed.update(ours)
            return web.Response(status=error.status, headers=passed)
        async with server:
            caller = await accept(request, ours, protocols=[server.protocol] if server.protocol else [])
            await join(caller, server)
            return caller


async def connect_tcp(request: web.BaseRequest, request_id: str, way: Way) -> web.StreamResponse:
    """A TCP connection to a server, over the caller's WebSocket.

    Raises PortClosed.
    """
    reader, writer = await _connect(way)
    try:
        caller = await accept(request, way.headers(request_id))
        code, reason = await first_of(_send_up(caller, writer), _send_down(reader, caller))
        await caller.close(code=code, message=reason)
    finally:
        writer.close()
    return caller


async def _connect(way: Way) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for host in way.hosts:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                return await asyncio.open_connection(host, way.port, limit=_CHUNK)
        except (OSError, TimeoutError) as error:
            log.debug("port %d is not at %s: %s", way.port, host, error)
    raise _nobody(way.port)


def _nobody(port: int) -> PortClosed:
    return PortClosed(f"nobody accepts on port {port}; start a server there first", details={"port": port})


async def _send_up(caller: web.WebSocketResponse, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    """Pass on what the caller sends; returns when it is gone."""
    try:
        while True:
            message = await caller.receive()
            if message.type is WSMsgType.BINARY:
                writer.write(message.data)
                await writer.drain()
            elif message.type is WSMsgType.TEXT and not message.data:
                writer.write_eof()
            elif message.type is WSMsgType.PING:
                await caller.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                return 1003, b"bytes are sent in binary frames; an empty text frame says that all is sent"
            elif message.type is not WSMsgType.PONG:
                return 1000, b""
    except ConnectionError:
        return 1011, b"the server closed the connection"


async def _send_down(reader: asyncio.StreamReader, caller: web.WebSocketResponse) -> tuple[int, bytes]:
    """Pass on what the server sends; returns when it has sent all."""
    try:
        while data := await reader.read(_CHUNK):
            await caller.send_bytes(data)
    except ConnectionError:
        return 1011, b"the server cut the connection"
    return 1000, b""


async def _read_chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        yield chunk


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
