"""The engine by its operations, without HTTP where that says more."""

from __future__ import annotations

import asyncio

import pytest

from rock.wire.errors import InvalidRequest, LimitReached
from rock.wire.messages import Clocks, CreateSessionRequest, Empty, RenewLeaseRequest, RockletExit, SessionRequest
from rock.wire.operations import GET_CLOCKS, LIST_SESSIONS, RENEW_LEASE
from rocklet.actions import Call
from rocklet.engine import Engine
from tests.rocklet.callers import Caller


async def test_clocks_tell_what_is_left_and_asking_renews_nothing(caller: Caller) -> None:
    first = await caller.call(GET_CLOCKS)
    second = await caller.call(GET_CLOCKS)
    assert 0 < (first.idle_remaining or 0) <= 300
    assert _idle_end(second) == pytest.approx(_idle_end(first), abs=1e-6)
    assert (second.actions_in_flight, second.sessions, second.sandbox_id) == (0, 0, "s-test")
    await caller.execute("true")
    assert _idle_end(await caller.call(GET_CLOCKS)) > _idle_end(second) + 1e-6


def _idle_end(clocks: Clocks) -> float:
    """When the idle clock will run out, in seconds from the rocklet's start, whenever that was asked."""
    assert clocks.idle_remaining is not None
    return clocks.uptime + clocks.idle_remaining


async def test_an_action_in_flight_holds_the_idle_clock(caller: Caller) -> None:
    running = asyncio.ensure_future(caller.execute("cat", timeout=20.0, stdin=""))
    await running
    slow = asyncio.ensure_future(caller.execute("sleep 0.2"))
    while not (now := await caller.call(GET_CLOCKS)).actions_in_flight:
        pass
    assert now.idle_remaining is None
    await slow


async def test_a_lease_can_be_taken_late_and_none_cannot_be_renewed(caller: Caller) -> None:
    with pytest.raises(InvalidRequest, match="no lease"):
        await caller.call(RENEW_LEASE)
    renewed = await caller.call(RENEW_LEASE, RenewLeaseRequest(lease=50.0))
    assert renewed.lease_remaining == pytest.approx(50, abs=1)
    assert (await caller.call(RENEW_LEASE)).lease_remaining == pytest.approx(50, abs=1)


@pytest.mark.slow
async def test_a_shorter_lease_wakes_the_clock_that_sleeps_for_a_later_end(caller: Caller) -> None:
    await caller.call(RENEW_LEASE, RenewLeaseRequest(lease=0.2))
    async with asyncio.timeout(60):
        assert await caller.engine.ended is RockletExit.LEASE


async def test_the_first_reason_to_end_stands(caller: Caller) -> None:
    caller.engine.end(RockletExit.CLOSED)
    caller.engine.end(RockletExit.IDLE)
    assert await caller.engine.ended is RockletExit.CLOSED


@pytest.mark.parametrize("settings", [{"session_limit": 1}], indirect=True)
async def test_there_are_only_so_many_sessions(caller: Caller) -> None:
    engine: Engine = caller.engine
    await engine.create_session(CreateSessionRequest(session="one"), Call("1"))
    with pytest.raises(LimitReached, match="close some"):
        await engine.create_session(CreateSessionRequest(session="two"), Call("2"))
    await engine.close_session(SessionRequest(session="one"), Call("3"))
    await engine.create_session(CreateSessionRequest(session="two"), Call("4"))


async def test_sessions_asked_for_together_start_side_by_side_and_once_each(caller: Caller) -> None:
    wanted = [CreateSessionRequest(session=name, on_existing="keep") for name in ("a", "b", "a", "b")]
    made = await asyncio.gather(*(caller.engine.create_session(each, Call(str(n))) for n, each in enumerate(wanted)))
    assert [each.existed for each in made] == [False, False, True, True]
    assert len({each.pid for each in made}) == 2
    assert [each.session for each in (await caller.call(LIST_SESSIONS)).sessions] == ["a", "b"]
    assert (await caller.engine.get_clocks(Empty(), Call("c"))).sessions == 2
