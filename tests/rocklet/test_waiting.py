"""Waiting for the first of several futures."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rocklet.waiting import run_to_end, wait_first


def _futures(count: int) -> list[asyncio.Future[None]]:
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(count)]


async def test_the_first_that_is_done_ends_the_wait() -> None:
    early, late = _futures(2)
    waiting = asyncio.ensure_future(wait_first(early, late, timeout=60))
    asyncio.get_running_loop().call_soon(early.set_result, None)
    assert await waiting
    assert not late.done()


async def test_what_is_done_already_is_not_waited_for() -> None:
    done, pending = _futures(2)
    done.set_result(None)
    assert await wait_first(pending, done)


async def test_a_failure_ends_the_wait_and_is_not_raised() -> None:
    (failed,) = _futures(1)
    failed.set_exception(OSError("seen"))
    assert await wait_first(failed)
    assert isinstance(failed.exception(), OSError)


async def test_time_runs_out() -> None:
    (never,) = _futures(1)
    assert not await wait_first(never, timeout=0.0)
    assert not never.done()


async def test_a_wait_that_is_canceled_cancels_nothing_and_leaves_nothing() -> None:
    (future,) = _futures(1)
    waiting = asyncio.ensure_future(wait_first(future, timeout=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not future.cancelled()
    assert future.remove_done_callback(lambda _: None) == 0


async def test_what_runs_to_its_end_is_over_when_its_caller_goes_on() -> None:
    begun, release = threading.Event(), threading.Event()
    ended: list[str] = []

    def work(name: str) -> None:
        begun.set()
        release.wait(20)
        ended.append(name)

    running = asyncio.ensure_future(run_to_end(work, "work"))
    await asyncio.to_thread(begun.wait, 20)
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["work"]


async def test_what_runs_to_its_end_gives_its_result_or_its_error() -> None:
    assert await run_to_end(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await run_to_end(int, "x")
