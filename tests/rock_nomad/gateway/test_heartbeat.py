import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from rock_nomad.gateway import heartbeat
from rock_nomad.gateway.heartbeat import answer_with_heartbeat

Work = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def _serving(work: Work) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.StreamResponse:
        async def working() -> bytes:
            return await work()

        return await answer_with_heartbeat(request, working())

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_a_quick_answer_goes_out_in_one_piece() -> None:
    async def work() -> bytes:
        return b"{}"

    async with _serving(work) as url, aiohttp.ClientSession() as session, session.get(url) as reply:
        assert (reply.headers["Content-Length"], await reply.read()) == ("2", b"{}")


async def test_a_slow_answer_has_whitespace_ahead_of_it() -> None:
    go_on = asyncio.Event()

    async def work() -> bytes:
        await go_on.wait()
        return b"{}"

    async with _serving(work) as url, aiohttp.ClientSession() as session, session.get(url) as reply:
        assert await reply.content.readexactly(1) == b" "
        go_on.set()
        assert (reply.content_type, await reply.read()) == ("application/json", b"{}")


async def test_work_whose_client_goes_away_is_cancelled() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set_result("cancelled")
            raise
        return b""

    async with _serving(work) as url, aiohttp.ClientSession() as session:
        async with session.get(url) as reply:
            await reply.content.readexactly(1)
            reply.close()
        assert await asyncio.wait_for(ended, 60) == "cancelled"


async def test_what_work_raises_is_raised_as_itself() -> None:
    async def work() -> bytes:
        raise web.HTTPGone

    async with _serving(work) as url, aiohttp.ClientSession() as session, session.get(url) as reply:
        assert reply.status == 410


def test_the_first_beat_comes_before_any_sensible_timeout() -> None:
    assert heartbeat.FIRST_BEAT < 0.1 < heartbeat.BEAT == pytest.approx(1.0)
