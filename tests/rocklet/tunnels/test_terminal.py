from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiohttp import WSMsgType

from rock.wire.tunnels import refusal_from_headers
from tests.rocklet.callers import Caller

pytestmark = pytest.mark.slow


async def test_keys_go_in_output_comes_out_and_the_exit_code_is_last(caller: Caller) -> None:
    asked = [("command", "sh"), ("command", "-c"), ("command", "read x; stty size; echo got $x; exit 7")]
    async with caller.http.ws_connect("/v1/pty", params=asked) as socket:
        await socket.send_str(json.dumps({"rows": 50, "cols": 100}))
        await socket.send_bytes(b"it\n")
        messages = [message async for message in socket]
        assert b"50 100\r\ngot it\r\n" in b"".join(each.data for each in messages if each.type is WSMsgType.BINARY)
        assert json.loads(messages[-1].data) == {"exit_code": 7}
        assert socket.close_code == 1000


@pytest.mark.parametrize("text", ["", "x", "{}", '{"rows": 0, "cols": 1}', '{"rows": 1, "cols": 1, "depth": 1}'])
async def test_a_text_frame_that_is_no_size_is_refused(caller: Caller, text: str) -> None:
    async with caller.http.ws_connect("/v1/pty") as socket:
        await socket.send_str(text)
        async for _ in socket:
            pass
        assert socket.close_code == 1008


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"rows": "many"}, 400, "rows"),
        ({"colour": "red"}, 400, "colour"),
        ({"user": "nobody-of-that-name"}, 400, "no user"),
        ({"cwd": "/nowhere"}, 422, "/nowhere"),
    ],
)
async def test_a_console_that_cannot_be_is_refused_in_words(
    caller: Caller, asked: dict[str, str], status: int, said: str
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await caller.http.ws_connect("/v1/pty", params=asked)
    assert caught.value.headers is not None
    error = refusal_from_headers(caught.value.headers, caught.value.status)
    assert error is not None
    assert (error.status, said in error.message) == (status, True)


async def test_a_silent_console_is_pinged_for_who_cannot_ask(caller: Caller) -> None:
    asked = [("command", "sleep"), ("command", "300"), ("heartbeat", "0.01")]
    async with asyncio.timeout(20), caller.http.ws_connect("/v1/pty", params=asked, autoping=False) as socket:
        for _ in range(3):
            assert (await socket.receive()).type is WSMsgType.PING
