"""Calls that run once: joined, replayed, called off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rock.wire.errors import Canceled, OutcomeUnknown, RequestIdReused
from rocklet.actions import Actions, Call, Limits, Reply


class Work:
    """Something to perform: counts how often it began, ends when it is told to or is called off."""

    def __init__(self, body: bytes = b"done") -> None:
        self.begun = 0
        self.body = body
        self.calls: list[Call] = []
        self.started = asyncio.Event()
        self.proceed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def perform(self, call: Call) -> Reply:
        self.begun += 1
        self.calls.append(call)
        self.started.set()
        await asyncio.wait((self.proceed, call.canceled), return_when=asyncio.FIRST_COMPLETED)
        return Reply(status=499 if call.canceled.done() else 200, body=self.body)

    def finish(self) -> None:
        self.proceed.set_result(None)


@pytest.fixture
def limits() -> Limits:
    return Limits(count=3, reply_bytes=100)


@pytest.fixture
async def actions(limits: Limits) -> AsyncIterator[Actions]:
    async with asyncio.TaskGroup() as tasks:
        yield Actions(tasks, limits)


@pytest.fixture
async def work() -> Work:
    return Work()


async def run(actions: Actions, work: Work, request_id: str = "a", *, is_named: bool = True) -> Reply:
    return await actions.run(request_id, b"same", work.perform, is_named=is_named)


async def test_a_call_sent_again_while_it_runs_is_joined(actions: Actions, work: Work) -> None:
    first, second = (asyncio.ensure_future(run(actions, work)) for _ in range(2))
    await work.started.wait()
    work.finish()
    assert await first == await second == Reply(status=200, body=b"done")
    assert work.begun == 1


async def test_a_call_sent_again_when_it_is_done_is_replayed(actions: Actions, work: Work) -> None:
    work.finish()
    assert await run(actions, work) == await run(actions, work)
    assert work.begun == 1


async def test_an_id_that_comes_with_another_call_is_refused(actions: Actions, work: Work) -> None:
    work.finish()
    await run(actions, work)
    with pytest.raises(RequestIdReused):
        await actions.run("a", b"other", work.perform, is_named=True)
    assert work.begun == 1


async def test_a_lost_connection_ends_an_unnamed_call_at_once(actions: Actions, work: Work) -> None:
    waiting = asyncio.ensure_future(run(actions, work, is_named=False))
    await work.started.wait()
    waiting.cancel()
    await asyncio.wait((waiting, work.calls[0].canceled))
    assert work.calls[0].canceled.done()


async def test_a_lost_connection_leaves_a_named_call_to_be_joined_again(actions: Actions, work: Work) -> None:
    waiting = asyncio.ensure_future(run(actions, work))
    await work.started.wait()
    waiting.cancel()
    await asyncio.wait((waiting,))
    again = asyncio.ensure_future(run(actions, work))
    work.finish()
    assert (await again).status == 200
    assert work.begun == 1


@pytest.mark.parametrize("limits", [Limits(reattach_grace=0.01)])
async def test_a_named_call_that_nobody_joins_again_is_called_off(actions: Actions, work: Work) -> None:
    waiting = asyncio.ensure_future(run(actions, work))
    await work.started.wait()
    waiting.cancel()
    await work.calls[0].canceled
    assert (await run(actions, work)).status == 499


async def test_one_of_two_callers_going_away_changes_nothing(actions: Actions, work: Work) -> None:
    first, second = (asyncio.ensure_future(run(actions, work, is_named=False)) for _ in range(2))
    await work.started.wait()
    first.cancel()
    await asyncio.wait((first,))
    work.finish()
    assert (await second).status == 200


async def test_a_cancel_ends_what_runs_and_tells_whoever_waits(actions: Actions, work: Work) -> None:
    waiting = asyncio.ensure_future(run(actions, work))
    await work.started.wait()
    assert actions.cancel("a")
    assert (await waiting).status == 499
    assert not actions.cancel("a")


async def test_when_the_sandbox_ends_whoever_waits_is_cut_off_and_what_is_done_is_answered(
    actions: Actions, work: Work
) -> None:
    done = Work()
    done.finish()
    await run(actions, done, "done")
    waiting = asyncio.ensure_future(run(actions, work))
    await work.started.wait()
    actions.cancel_all()
    with pytest.raises(ConnectionAbortedError):
        await waiting
    assert (await run(actions, done, "done")).status == 200


async def test_a_cancel_that_overtakes_its_call_keeps_it_from_running(actions: Actions, work: Work) -> None:
    assert not actions.cancel("a")
    with pytest.raises(Canceled, match="nothing was run"):
        await run(actions, work)
    assert work.begun == 0


async def test_a_reply_that_is_not_kept_is_an_unknown_outcome_and_never_a_second_run(actions: Actions) -> None:
    large = Work(b"x" * 101)
    large.finish()
    await run(actions, large)
    with pytest.raises(OutcomeUnknown, match="not run again"):
        await run(actions, large)
    assert large.begun == 1


async def test_the_oldest_replies_go_first_and_their_calls_are_still_known(actions: Actions) -> None:
    works = {name: Work(b"x" * 40) for name in "abc"}
    for name, work in works.items():
        work.finish()
        await run(actions, work, name)
    with pytest.raises(OutcomeUnknown):
        await run(actions, works["a"], "a")
    for name in "bc":
        assert (await run(actions, works[name], name)).body == b"x" * 40


async def test_only_so_many_calls_are_remembered(actions: Actions) -> None:
    works = {name: Work(b"") for name in "abcd"}
    for name, work in works.items():
        work.finish()
        await run(actions, work, name)
    for name, work in works.items():
        await run(actions, work, name)
    assert works["a"].begun == 2


@pytest.mark.parametrize("limits", [Limits(age=0.0)])
async def test_old_calls_are_forgotten(actions: Actions, work: Work) -> None:
    work.finish()
    await run(actions, work)
    await run(actions, work)
    assert work.begun == 2
