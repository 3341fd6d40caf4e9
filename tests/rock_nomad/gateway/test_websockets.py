from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from rock_nomad.gateway.websockets import accept, is_websocket, join

FAREWELLS: list[tuple[int | None, int]] = [(4000, 4000), (1001, 1001), (None, 1011)]
"""How a server leaves (None: without a word), and what its client hears."""


async def _serve(request: web.Request) -> web.StreamResponse:
    """Echo; `leave` leaves as the path says."""
    socket = await accept(request, {})
    while (message := await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING):
        if message.data == "leave":
            code = request.match_info["code"]
            if code == "None":
                assert request.transport is not None
                request.transport.abort()
            else:
                await socket.close(code=int(code), message=b"bye")
            return socket
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    request.app[_HEARD].set_result((message.type, message.data))
    await socket.close()
    return socket


_HEARD = web.AppKey("heard", asyncio.Future)


@asynccontextmanager
async def _listen(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _between(
    *, idle_timeout: float | None = None
) -> AsyncIterator[tuple[str, asyncio.Future[tuple[WSMsgType, int]]]]:
    """A server that joins each client to the one behind it; and how a client left, as that one heard it."""
    behind, front = web.Application(), web.Application()
    behind[_HEARD] = asyncio.get_running_loop().create_future()
    behind.router.add_get("/{code}", _serve)
    async with aiohttp.ClientSession() as session, _listen(behind) as url:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            assert is_websocket(request)
            async with session.ws_connect(url + request.path, autoclose=False, autoping=False) as server:
                client = await accept(request, {})
                await join(client, server, idle_timeout=idle_timeout)
                return client

        front.router.add_get("/{code}", pass_on)
        async with _listen(front) as url_in_front:
            yield url_in_front, behind[_HEARD]


async def test_messages_of_every_kind_pass_both_ways() -> None:
    async with (
        _between() as (url, _),
        aiohttp.ClientSession() as session,
        session.ws_connect(url + "/1000", autoping=False) as socket,
    ):
        await socket.send_str("ü")
        assert await socket.receive_str() == "ü"
        await socket.send_bytes(b"\x00" * 100_000)
        assert await socket.receive_bytes() == b"\x00" * 100_000
        await socket.ping(b"there?")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"there?")


@pytest.mark.parametrize(("said", "heard"), FAREWELLS)
async def test_a_farewell_passes_and_a_loss_is_told(said: int | None, heard: int) -> None:
    async with (
        _between() as (url, _),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/{said}") as socket,
    ):
        await socket.send_str("leave")
        message = await asyncio.wait_for(socket.receive(), 5)
        assert (message.type, message.data) == (WSMsgType.CLOSE, heard)


async def test_a_clients_farewell_reaches_the_server() -> None:
    async with _between() as (url, left), aiohttp.ClientSession() as session:
        async with session.ws_connect(url + "/1000") as socket:
            await socket.close(code=4123)
        assert await asyncio.wait_for(left, 60) == (WSMsgType.CLOSE, 4123)


async def test_what_is_idle_for_too_long_ends_and_pings_are_no_sign_of_life() -> None:
    async with _between(idle_timeout=0.1) as (url, left), aiohttp.ClientSession() as session:
        async with session.ws_connect(url + "/1000", autoping=False) as socket:
            began = asyncio.get_running_loop().time()
            for _ in range(3):
                await asyncio.sleep(0.06)
                await socket.send_str("busy")
                assert await socket.receive_str() == "busy"
            await socket.ping(b"")
            assert (await socket.receive()).type is WSMsgType.PONG
            message = await asyncio.wait_for(socket.receive(), 5)
            assert (message.data, message.extra) == (1000, "nothing has passed for 0.1 seconds")
            assert asyncio.get_running_loop().time() - began > 0.25
        assert await asyncio.wait_for(left, 60) == (WSMsgType.CLOSE, 1000)
