from __future__ import annotations

import aiohttp
import pytest

from rock.wire.operations import GET_CLOCKS
from tests.rocklet.callers import Caller

pytestmark = pytest.mark.slow

PATHS = ["/v1/ports/8000/", "/v1/ports/8000/a/b", "/v1/tcp/8000", "/v1/pty"]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_opens_without_the_token(caller: Caller, path: str) -> None:
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{caller.port}") as stranger,
        stranger.get(path, headers={"Authorization": "Bearer wrong"}) as reply,
    ):
        assert (reply.status, (await reply.json())["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", ["/v1/ports", "/v1/ports/8000", "/v1/tcp/8000/x", "/v1/ptyx"])
async def test_a_path_beside_them_is_no_tunnel(caller: Caller, path: str) -> None:
    async with caller.http.get(path) as reply:
        assert (reply.status, (await reply.json())["code"]) == (404, "route_not_found")


async def test_an_open_tunnel_holds_the_idle_clock(caller: Caller) -> None:
    async with caller.http.ws_connect("/v1/pty?command=cat") as socket:
        await socket.send_bytes(b"x\n")
        await socket.receive()
        clocks = await caller.call(GET_CLOCKS)
    assert (clocks.actions_in_flight, clocks.idle_remaining) == (1, None)
