"""A command over a WebSocket: what it prints comes down in frames, its stdin and signals go up."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from rock.wire import codec
from rock.wire.commands import CommandInput, CommandSignal, FollowCommandRequest
from rock.wire.errors import RockException
from rock.wire.operations import REQUEST_ID_HEADER
from rock.wire.tunnels import CommandControl
from rocklet.actions import Call
from rocklet.commands import CommandFollowing
from rocklet.engine import Engine
from rocklet.tunnels.websockets import accept, first_of

__all__ = ["serve_command"]

_NORMAL, _LOST = (1000, b""), (1011, b"the sandbox has ended")
_MISUSED = 1008
_REASON_LIMIT = 123  # bytes.  Source: RFC 6455 section 5.5


async def serve_command(
    request: web.BaseRequest, request_id: str, engine: Engine, asked: FollowCommandRequest
) -> web.StreamResponse:
    """Join a command and its caller until either ends.

    Raises CommandNotFound, InvalidRequest.
    """
    call = Call(request_id)
    following = await engine.follow_command(asked, call)
    try:
        caller = await accept(request, {REQUEST_ID_HEADER: request_id})
        code, reason = await first_of(_show(following, caller), _tell(caller, engine, asked.command_id, call))
        await caller.close(code=code, message=reason)
    finally:
        following.close()
    return caller


async def _show(following: CommandFollowing, caller: web.WebSocketResponse) -> tuple[int, bytes]:
    """Send what is printed, no faster than the caller takes it, up to the command's end."""
    try:
        while (data := await asyncio.to_thread(following.read)) or await following.grew():
            if data:
                await caller.send_bytes(data)
    except ConnectionError:
        return _NORMAL
    return _LOST if following.is_cut else _NORMAL


async def _tell(caller: web.WebSocketResponse, engine: Engine, command_id: str, call: Call) -> tuple[int, bytes]:
    """Pass on what the caller sends, no faster than the command takes it; returns when the caller is gone."""
    try:
        while True:
            message = await caller.receive()
            if message.type is WSMsgType.BINARY:
                await engine.send_input(CommandInput(command_id=command_id, data=message.data), call)
            elif message.type is WSMsgType.PING:
                await caller.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                await _control(codec.decode(CommandControl, message.data.encode()), engine, command_id, call)
            elif message.type is not WSMsgType.PONG:
                return _NORMAL
    except ConnectionError:
        return _NORMAL
    except RockException as error:  # of what was sent; the answer to the handshake cannot say it any more
        return _MISUSED, error.message.encode()[:_REASON_LIMIT]


async def _control(control: CommandControl, engine: Engine, command_id: str, call: Call) -> None:
    if control.signal is not None:
        await engine.signal_command(CommandSignal(command_id=command_id, signal=control.signal), call)
    if control.is_last:
        await engine.send_input(CommandInput(command_id=command_id, is_last=True), call)
