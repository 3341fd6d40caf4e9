"""Whose turn it is."""

from __future__ import annotations

import asyncio

import pytest

from rocklet.sessions.turns import Turns


def future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def waiting(turns: Turns, canceled: asyncio.Future[None] | None = None) -> asyncio.Future[bool]:
    """Somebody who waits already when this returns."""
    task = asyncio.ensure_future(turns.take(canceled or future()))
    await asyncio.sleep(0)
    return task


async def test_turns_go_round_in_the_order_of_arrival() -> None:
    turns = Turns()
    assert await turns.take(future())
    first, second = await waiting(turns), await waiting(turns)
    turns.give()
    assert await first
    assert not second.done()
    turns.give()
    assert await second
    turns.give()
    assert not turns.is_taken


async def test_whoever_is_called_off_is_skipped() -> None:
    turns, canceled = Turns(), future()
    await turns.take(future())
    first, second = await waiting(turns, canceled), await waiting(turns)
    canceled.set_result(None)
    assert not await first
    turns.give()
    assert await second


async def test_a_turn_that_came_together_with_the_calling_off_is_passed_on() -> None:
    turns, canceled = Turns(), future()
    await turns.take(future())
    first, second = await waiting(turns, canceled), await waiting(turns)
    turns.give()
    canceled.set_result(None)
    assert not await first
    assert await second


async def test_a_waiter_that_is_cancelled_loses_no_turn() -> None:
    turns = Turns()
    await turns.take(future())
    first, second = await waiting(turns), await waiting(turns)
    turns.give()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second


async def test_whoever_was_called_off_before_gets_none() -> None:
    canceled = future()
    canceled.set_result(None)
    turns = Turns()
    assert not await turns.take(canceled)
    assert not turns.is_taken
