"""Two WebSockets joined: what comes on one goes out on the other, no faster than it is taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping

from aiohttp import ClientWebSocketResponse, WSMsgType, web

__all__ = ["CLOSE_TIMEOUT", "MESSAGE_LIMIT", "accept", "is_websocket", "join"]

MESSAGE_LIMIT = 64 * 2**20  # bytes of one message, which is held whole; a longer one closes the WebSocket with 1009
CLOSE_TIMEOUT = 2.0  # seconds for the other side to say goodbye too

_Side = web.WebSocketResponse | ClientWebSocketResponse
_Farewell = tuple[int, bytes]
_LOST: _Farewell = 1011, b"the other side was lost"
_UNSAID = frozenset({0, 1005, 1006, 1015})
"""Codes that say that none was sent, and so cannot be.  Source: RFC 6455 section 7.4.1."""


def is_websocket(request: web.BaseRequest) -> bool:
    """Whether a request asks for a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def accept(
    request: web.BaseRequest, headers: Mapping[str, str], *, protocols: Iterable[str] = ()
) -> web.WebSocketResponse:
    """The client's WebSocket, open; pings and farewells are left to the other side."""
    socket = web.WebSocketResponse(
        timeout=CLOSE_TIMEOUT,
        protocols=tuple(protocols),
        autoclose=False,
        autoping=False,
        compress=False,
        max_msg_size=MESSAGE_LIMIT,
    )
    socket.headers.update(headers)
    await socket.prepare(request)
    return socket


async def join(one: _Side, other: _Side, *, idle_timeout: float | None = None) -> None:
    """Pass messages both ways until a side closes or is lost; then the other is closed with the same words.

    With an idle timeout it ends also when no data has passed for so long, in either direction.
    """
    limit = asyncio.timeout(idle_timeout)
    farewell: _Farewell = 1000, f"nothing has passed for {idle_timeout} seconds".encode()

    def note_data() -> None:
        if idle_timeout is not None and not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + idle_timeout)

    async with asyncio.TaskGroup() as tasks:
        pumps = [tasks.create_task(_pump(*sides, note_data)) for sides in ((one, other), (other, one))]
        with contextlib.suppress(TimeoutError):
            async with limit:
                done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                farewell = done.pop().result()
        for pump in pumps:
            pump.cancel()
    code, reason = farewell
    for side in (one, other):
        await side.close(code=code, message=reason)


async def _pump(source: _Side, target: _Side, note_data: Callable[[], None]) -> _Farewell:
    try:
        while True:
            message = await source.receive()
            if message.type is WSMsgType.CLOSE:
                code = message.data or 1000
                return (1000 if code in _UNSAID else code), (message.extra or "").encode()
            if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):  # a client that pings may still be idle
                note_data()
            if not await _pass(message.type, message.data, target):
                return _LOST
    except ConnectionError:
        return _LOST


async def _pass(kind: WSMsgType, data: bytes | str, target: _Side) -> bool:
    """Whether it was a message that can be passed on; sending waits until what came before was taken."""
    if isinstance(data, str) and kind is WSMsgType.TEXT:
        await target.send_str(data)
    elif isinstance(data, str):
        return False
    elif kind is WSMsgType.BINARY:
        await target.send_bytes(data)
    elif kind is WSMsgType.PING:
        await target.ping(data)
    elif kind is WSMsgType.PONG:
        await target.pong(data)
    else:
        return False
    return True
