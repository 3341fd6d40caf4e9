from __future__ import annotations

import asyncio
import hashlib
import io
import os

import aiohttp
import pytest
from aiohttp import WSMsgType
from yarl import URL

from rock.wire.tunnels import PORT_HEADER
from tests.rocklet.callers import Caller
from tests.rocklet.conftest import Serve

pytestmark = pytest.mark.slow

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"]


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_reaches_the_server_as_it_was_sent(caller: Caller, server: int, method: str) -> None:
    path = f"/v1/ports/{server}/show/a%2Fb/../%E2%82%AC?x=1&x=%20&y"
    url = URL(f"http://127.0.0.1:{caller.port}{path}", encoded=True)
    body = None if method == "GET" else b"\x00\xff"
    async with caller.http.request(method, url, data=body, headers={"X-Mine": "1", "Cookie": "a=b"}) as reply:
        said = await reply.json()
        assert (reply.status, reply.headers["X-Own"], reply.headers[PORT_HEADER]) == (200, "1", str(server))
    assert (said["method"], said["path"]) == (method, path.removeprefix(f"/v1/ports/{server}"))
    assert said["body"] == ("" if body is None else "\x00ÿ")
    assert (said["headers"]["x-mine"], said["headers"]["cookie"]) == ("1", "a=b")
    assert said["headers"]["host"] == f"127.0.0.1:{server}"
    assert "authorization" not in said["headers"]


@pytest.mark.parametrize("status", [201, 304, 401, 404, 500])
async def test_the_servers_own_status_is_told_as_such(caller: Caller, server: int, status: int) -> None:
    async with caller.http.get(f"/v1/ports/{server}/show?status={status}") as reply:
        assert (reply.status, reply.headers[PORT_HEADER]) == (status, str(server))


async def test_a_head_request_has_headers_only(caller: Caller, server: int) -> None:
    async with caller.http.head(f"/v1/ports/{server}/show") as reply:
        assert (reply.status, await reply.read()) == (200, b"")


async def test_a_chunked_upload_arrives_whole(caller: Caller, server: int) -> None:
    data = os.urandom(3 * 2**20)
    async with caller.http.post(f"/v1/ports/{server}/digest", data=io.BytesIO(data), chunked=True) as reply:
        assert await reply.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


async def test_events_come_one_by_one(caller: Caller, server: int) -> None:
    async with caller.http.get(f"/v1/ports/{server}/events") as reply:
        assert reply.content_type == "text/event-stream"
        for number in range(3):
            assert await asyncio.wait_for(reply.content.readline(), 5) == f"data: {number}\n".encode()
            assert await reply.content.readline() == b"\n"
            async with caller.http.get(f"/v1/ports/{server}/next"):
                pass
        assert await reply.content.read() == b""


async def test_an_answer_that_was_cut_does_not_look_whole(caller: Caller, server: int) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        async with caller.http.get(f"/v1/ports/{server}/cut") as reply:
            await reply.read()


async def test_a_websocket_passes_with_its_path_protocol_pings_and_farewell(caller: Caller, server: int) -> None:
    async with caller.http.ws_connect(f"/v1/ports/{server}/ws?a=1", protocols=["v1", "v2"]) as socket:
        assert socket.protocol == "v2"
        assert await socket.receive_str() == "/ws?a=1 v2 v1,v2"
        await socket.send_bytes(b"\x00" * 2**20)
        assert await socket.receive_bytes() == b"\x00" * 2**20
        await socket.ping(b"there?")
        await socket.send_str("close 4001")
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4001, "as you wish")


async def test_a_websocket_that_the_server_refuses_is_refused_with_its_status(caller: Caller, server: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await caller.http.ws_connect(f"/v1/ports/{server}/show?status=403")
    assert caught.value.status == 403
    assert caught.value.headers is not None
    assert caught.value.headers[PORT_HEADER] == str(server)


async def test_tcp_passes_as_it_is_and_tells_when_each_side_has_sent_all(caller: Caller, serve: Serve) -> None:
    data = os.urandom(2**20)
    async with serve("127.0.0.1", "--raw") as port, caller.http.ws_connect(f"/v1/tcp/{port}") as socket:
        for at in range(0, len(data), 2**16):
            await socket.send_bytes(data[at : at + 2**16])
        await socket.send_str("")
        received = b"".join([message.data async for message in socket])
        assert received == hashlib.sha256(data).hexdigest().encode()
        assert socket.close_code == 1000


async def test_text_on_a_tcp_tunnel_is_refused_in_words(caller: Caller, server: int) -> None:
    async with caller.http.ws_connect(f"/v1/tcp/{server}") as socket:
        await socket.send_str("hello")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1003)


async def test_a_port_where_nobody_listens_is_no_fault_of_ours(caller: Caller, server: int) -> None:
    async with caller.http.get(f"/v1/ports/{caller.port}/") as reply:
        assert (reply.status, (await reply.json())["code"]) == (403, "forbidden")
        assert PORT_HEADER not in reply.headers
