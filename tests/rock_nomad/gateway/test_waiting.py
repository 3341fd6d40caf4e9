import asyncio

import pytest

from rock_nomad.gateway.waiting import first_of


async def test_it_returns_with_the_first_and_cancels_the_others() -> None:
    canceled = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            canceled.set()

    async def quick() -> str:
        return "done"

    await first_of(slow(), quick())
    assert canceled.is_set()


async def test_what_one_raises_is_raised_as_itself() -> None:
    async def fails() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        await first_of(asyncio.Event().wait(), fails())


async def test_cancelling_it_cancels_all() -> None:
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await first_of(wait(1), wait(2))
    assert sorted(ended) == [1, 2]
