"""The rocklet's socket, before there is a server on it."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
import pytest

from rocklet.config import Settings
from rocklet.listener import open_listener
from rocklet.server import listen


async def test_who_calls_before_the_server_is_there_is_answered_when_it_is(settings: Settings) -> None:
    with open_listener(settings) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /is_alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with listen(settings, listener), aiohttp.ClientSession(address) as http:
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            async with http.get("/is_alive") as reply:
                assert reply.status == 200
        writer.close()
        await writer.wait_closed()


def test_an_address_that_is_none_of_this_machines_is_an_error(settings: Settings) -> None:
    with pytest.raises(OSError, match="assign"):
        open_listener(msgspec.structs.replace(settings, host="192.0.2.1"))
