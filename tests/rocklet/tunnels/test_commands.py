from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from rock.wire.commands import StartCommandRequest
from rock.wire.frames import FrameDecoder
from rock.wire.operations import START_COMMAND
from rock.wire.tunnels import ATTACH_COMMAND, refusal_from_headers
from tests.followers import COMPLAINED, SAID, TALK, Follower
from tests.rock.proxies import run_relay
from tests.rocklet.callers import TOKEN, Caller

pytestmark = pytest.mark.slow

PATIENCE = 60.0  # seconds in which what must happen happens, on whatever machine


async def start(caller: Caller, command: str, *, keep_stdin: bool = False) -> Follower:
    request = StartCommandRequest(command=command, keep_stdin=keep_stdin)
    return Follower(caller.http, (await caller.call(START_COMMAND, request)).command_id)


@asynccontextmanager
async def attach(follower: Follower, **asked: object) -> AsyncIterator[ClientWebSocketResponse[bool]]:
    params = {"command_id": follower.command_id, "cursor": follower.cursor, **asked}
    path = ATTACH_COMMAND.path
    async with follower.http.ws_connect(path, params={name: str(value) for name, value in params.items()}) as socket:
        yield socket


async def take(follower: Follower, socket: ClientWebSocketResponse[bool], *, messages: int | None = None) -> None:
    """Take what comes: all of it, or so many messages."""
    decoder = FrameDecoder()
    while messages is None or messages > 0:
        message = await socket.receive()
        if message.type is not WSMsgType.BINARY:
            return
        for frame in decoder.feed(message.data):
            follower.note(*frame)
        messages = None if messages is None else messages - 1


async def test_output_comes_down_and_stdin_and_signals_go_up(caller: Caller) -> None:
    script = "trap 'echo caught; exit 9' USR1; while read line; do echo \"got $line\" >&2; done; while :; do :; done"
    follower = await start(caller, script, keep_stdin=True)
    async with asyncio.timeout(PATIENCE), attach(follower) as socket:
        await socket.send_bytes("wörd\n".encode())
        await take(follower, socket, messages=1)
        assert follower.stderr.decode() == "got wörd\n"
        await socket.send_str(json.dumps({"is_last": True}))
        await socket.send_str(json.dumps({"signal": 10}))
        await take(follower, socket)
        assert (bytes(follower.stdout), socket.close_code) == (b"caught\n", 1000)
    assert follower.end is not None
    assert follower.end.exit_code == 9


async def test_who_loses_it_goes_on_where_that_happened(caller: Caller) -> None:
    follower = await start(caller, TALK)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        asyncio.timeout(PATIENCE),
        run_relay(f"http://127.0.0.1:{caller.port}") as relay,
        aiohttp.ClientSession(relay.url, headers=headers) as follower.http,
    ):
        relay.losses = [700, 5000, 1, 9000]
        while follower.end is None:
            with contextlib.suppress(aiohttp.ClientError):  # lost before it was open
                async with attach(follower) as socket:
                    await take(follower, socket)
        assert relay.lost == 4
    assert (bytes(follower.stdout), bytes(follower.stderr)) == (SAID, COMPLAINED)


async def test_a_silent_command_has_heartbeats(caller: Caller) -> None:
    follower = await start(caller, "sleep 300")
    async with asyncio.timeout(PATIENCE), attach(follower, heartbeat=0.01) as socket:
        await take(follower, socket, messages=3)
    assert follower.heartbeats == 3


@pytest.mark.parametrize("text", ["x", '{"signal": 0}', '{"colour": "red"}'])
async def test_a_text_frame_that_says_nothing_is_refused(caller: Caller, text: str) -> None:
    follower = await start(caller, "sleep 300")
    async with asyncio.timeout(PATIENCE), attach(follower) as socket:
        await socket.send_str(text)
        assert (await socket.receive()).type is WSMsgType.CLOSE
        assert socket.close_code == 1008


async def test_input_for_a_stdin_that_is_closed_says_so(caller: Caller) -> None:
    follower = await start(caller, "sleep 300")
    async with asyncio.timeout(PATIENCE), attach(follower) as socket:
        await socket.send_bytes(b"x")
        closed = await socket.receive()
        assert (closed.type, "is closed" in str(closed.extra)) == (WSMsgType.CLOSE, True)


async def test_a_command_that_is_not_there_is_refused_in_words(caller: Caller) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with attach(Follower(caller.http, "nobody")):
            pass
    error = refusal_from_headers(caught.value.headers or {}, caught.value.status)
    assert error is not None
    assert (error.error, error.status) == ("command_not_found", 404)
