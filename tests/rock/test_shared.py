from __future__ import annotations

import asyncio

from rock._shared import AsyncAtomicInt, AsyncSafeDict, get_executor, sandbox_id_ctx_var


async def test_a_number_counts_everybody() -> None:
    number = AsyncAtomicInt(5)
    assert sorted(await asyncio.gather(*(number.inc() for _ in range(10)))) == list(range(6, 16))
    assert await number.get() == 15


async def test_a_dictionary_keeps_gives_and_lets_go() -> None:
    shared = AsyncSafeDict[str, int]()
    await shared.set("a", 1)
    assert (await shared.get("a"), await shared.get("b"), await shared.get("b", 2)) == (1, None, 2)
    assert (list(await shared.keys()), len(shared)) == (["a"], 1)
    assert (await shared.pop("a"), await shared.pop("a"), len(shared)) == (1, None, 0)


def test_there_is_one_executor_and_no_sandbox_by_default() -> None:
    assert get_executor() is get_executor()
    assert get_executor().submit(lambda: 7).result() == 7
    assert sandbox_id_ctx_var.get() == ""
