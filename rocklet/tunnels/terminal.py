"""A console over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import WSMsgType, web

from rock.wire import codec
from rock.wire.errors import InvalidRequest
from rock.wire.operations import REQUEST_ID_HEADER
from rock.wire.tunnels import ConsoleExit, Resize
from rocklet.console import Console
from rocklet.tunnels.websockets import accept, first_of

__all__ = ["serve_console"]

_NORMAL, _MISUSED = (1000, b""), (1008, b'a text frame is a size such as {"rows": 24, "cols": 80}')


async def serve_console(
    request: web.BaseRequest, request_id: str, console: Console, *, heartbeat: float
) -> web.StreamResponse:
    """Join a console and its caller until either ends; the console is closed."""
    try:
        caller = await accept(request, {REQUEST_ID_HEADER: request_id})
        code, reason = await first_of(_show(console, caller), _type(caller, console), _ping(caller, heartbeat))
        await caller.close(code=code, message=reason)
    finally:
        await console.close()
    return caller


async def _show(console: Console, caller: web.WebSocketResponse) -> tuple[int, bytes]:
    """Send what is printed, no faster than the caller takes it; last, how the program ended."""
    with contextlib.suppress(ConnectionError):
        while data := await console.read():
            await caller.send_bytes(data)
        exit_code = await asyncio.shield(console.exited)
        await caller.send_str(codec.encode(ConsoleExit(exit_code=exit_code)).decode())
    return _NORMAL


async def _ping(caller: web.WebSocketResponse, heartbeat: float) -> tuple[int, bytes]:
    """Say that we are there; a browser cannot ask.  Returns when the caller is gone."""
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(heartbeat)
            await caller.ping()
    return _NORMAL


async def _type(caller: web.WebSocketResponse, console: Console) -> tuple[int, bytes]:
    """Press the keys that the caller presses; returns when it is gone."""
    with contextlib.suppress(ConnectionError):
        while True:
            message = await caller.receive()
            if message.type is WSMsgType.BINARY:
                await console.write(message.data)
            elif message.type is WSMsgType.PING:
                await caller.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                try:
                    size = codec.decode(Resize, message.data.encode())
                except InvalidRequest:
                    return _MISUSED
                console.resize(size.rows, size.cols)
            elif message.type is not WSMsgType.PONG:
                return _NORMAL
    return _NORMAL
