import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from rock.wire.codec import encode
from rock.wire.messages import Clocks, RockletEndpoint
from rock.wire.operations import GET_CLOCKS, REQUEST_ID_HEADER
from rock_nomad.gateway.rocklets import Rocklets, RockletUnreachable, StaleAddress, open_session

CLOCKS = Clocks(sandbox_id="a", uptime=1.0, max_lifetime_remaining=9.0, pid=7)


def _endpoint(port: int, sandbox_id: str = "a") -> RockletEndpoint:
    return RockletEndpoint(sandbox_id=sandbox_id, url=f"http://127.0.0.1:{port}", token="t", alloc_id="x")


@asynccontextmanager
async def _listen(port: int = 0, *, is_rocklet: bool = True, status: int = 200) -> AsyncIterator[int]:
    async def clocks(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t"
        headers = {REQUEST_ID_HEADER: "r"} if is_rocklet else None
        return web.Response(status=status, body=encode(CLOCKS), headers=headers)

    app = web.Application()
    app.router.add_get(GET_CLOCKS.path, clocks)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def test_a_rocklet_tells_its_clocks() -> None:
    async with open_session() as session, _listen() as port:
        assert await Rocklets(session).clocks(_endpoint(port)) == CLOCKS


@pytest.mark.parametrize(
    ("is_rocklet", "status", "sandbox_id"),
    [(True, 401, "a"), (False, 200, "a"), (True, 200, "b"), (True, 500, "a")],
    ids=["wrong token", "no rocklet", "another's", "failing"],
)
async def test_whoever_else_answers_makes_the_address_stale(is_rocklet: bool, status: int, sandbox_id: str) -> None:
    async with open_session() as session, _listen(is_rocklet=is_rocklet, status=status) as port:
        with pytest.raises(StaleAddress):
            await Rocklets(session).clocks(_endpoint(port, sandbox_id))


async def test_where_nobody_listens_is_unreachable() -> None:
    async with open_session() as session:
        with pytest.raises(RockletUnreachable):
            await Rocklets(session).clocks(_endpoint(_free_port()))


async def test_a_rocklet_that_does_not_listen_yet_is_awaited() -> None:
    port = _free_port()
    async with open_session() as session, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(Rocklets(session).await_clocks(_endpoint(port)))
        await asyncio.wait([waiting], timeout=0.03)
        assert not waiting.done()
        async with _listen(port):
            assert await asyncio.wait_for(waiting, 60) == CLOCKS
