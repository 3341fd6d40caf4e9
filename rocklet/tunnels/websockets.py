"""WebSockets with callers, and how two of whatever talks are joined."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType, web

from rock.wire.errors import InvalidRequest

__all__ = ["MESSAGE_LIMIT", "accept", "first_of", "is_websocket", "join", "require_websocket"]

MESSAGE_LIMIT = 64 * 2**20  # bytes of one message, which is held whole; a longer one closes the WebSocket with 1009
_CLOSE_TIMEOUT = 2.0  # seconds for the other side to say goodbye too

_Side = web.WebSocketResponse | ClientWebSocketResponse
_Farewell = tuple[int, bytes]
_LOST = 1011, b"the other side was lost"
_UNSAID = frozenset({0, 1005, 1006, 1015})
"""Codes that say that none was sent, and so cannot be.  Source: RFC 6455 section 7.4.1."""


def is_websocket(request: web.BaseRequest) -> bool:
    """Whether a request asks for a WebSocket."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def require_websocket(request: web.BaseRequest) -> None:
    """Let only WebSockets pass.

    Raises InvalidRequest.
    """
    if not is_websocket(request):
        raise InvalidRequest(
            f"{request.path} is a WebSocket; open it as one",
            details={"field": "Upgrade", "value": request.headers.get("Upgrade", ""), "expected": "websocket"},
        )


async def accept(
    request: web.BaseRequest, headers: dict[str, str], *, protocols: Iterable[str] = ()
) -> web.WebSocketResponse:
    """The caller's WebSocket, open; what comes on it is passed on as it is, pings and farewells too."""
    socket = web.WebSocketResponse(
        timeout=_CLOSE_TIMEOUT,
        protocols=tuple(protocols),
        autoclose=False,
        autoping=False,
        compress=False,
        max_msg_size=MESSAGE_LIMIT,
    )
    socket.headers.update(headers)
    await socket.prepare(request)
    return socket


async def join(one: _Side, other: _Side) -> None:
    """Pass messages both ways until a side closes or is lost; then the other is closed with the same words.

    Sending waits until the receiver has taken what came before, so neither side can outrun the other.
    """
    code, reason = await first_of(_pump(one, other), _pump(other, one))
    for side in (one, other):
        await side.close(code=code, message=reason)


async def _pump(source: _Side, target: _Side) -> _Farewell:
    try:
        while True:
            message = await source.receive()
            if message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.PING:
                await target.ping(message.data)
            elif message.type is WSMsgType.PONG:
                await target.pong(message.data)
            elif message.type is WSMsgType.CLOSE:
                code = message.data or 1000
                return (1000 if code in _UNSAID else code), (message.extra or "").encode()
            else:
                return _LOST
    except ConnectionError:
        return _LOST


async def first_of(*works: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the first one says
    """The result of whichever ends first; the others are cancelled."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
    return done.pop().result()
