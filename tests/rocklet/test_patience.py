from __future__ import annotations

import asyncio

from rocklet.patience import Patience


async def test_without_limits_it_waits_for_the_future_alone() -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    assert await Patience(None, None).wait(done) == ""


async def test_the_limit_that_is_reached_first_is_told() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    assert await Patience(0.01, 60).wait(never) == "timed out after 0.01 s"
    assert await Patience(60, 0.01).wait(never) == "printed nothing for 0.01 s"


async def test_who_prints_is_not_silent() -> None:
    loop = asyncio.get_running_loop()
    never: asyncio.Future[None] = loop.create_future()
    began, patience = loop.time(), Patience(None, 0.06)
    loop.call_later(0.05, patience.hear)
    assert await patience.wait(never) == "printed nothing for 0.06 s"
    assert loop.time() - began >= 0.11


async def test_who_prints_runs_out_of_time_nevertheless() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    patience = Patience(0.1, 60)
    asyncio.get_running_loop().call_later(0.05, patience.hear)
    assert await patience.wait(never) == "timed out after 0.1 s"
