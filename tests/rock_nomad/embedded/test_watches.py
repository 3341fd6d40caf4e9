from __future__ import annotations

import asyncio

import pytest

from rock_nomad.embedded.watches import Watches


async def test_a_change_wakes_the_waiters_of_its_key_alone() -> None:
    watches = Watches()
    async with asyncio.TaskGroup() as tasks:
        ours = [tasks.create_task(watches.wait("a")) for _ in range(3)]
        other = tasks.create_task(watches.wait("b"))
        await asyncio.sleep(0)
        assert set(watches.waited()) == {"a", "b"}
        watches.wake(["a", "nobody"])
        await asyncio.gather(*ours)
        assert not other.done()
        watches.wake(["b"])


async def test_a_waiter_that_gave_up_leaves_nothing() -> None:
    watches = Watches()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await watches.wait("a")
    assert list(watches.waited()) == []
