"""The three clocks, on a clock that the tests set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.messages import RockletExit
from rocklet.clocks import SandboxClocks, read_clock


def clocks(*, idle: float = 10, life: float = 100, lease: float | None = None) -> SandboxClocks:
    return SandboxClocks(0.0, idle_timeout=idle, max_lifetime=life, lease=lease)


def test_idle_runs_from_the_start_and_from_the_end_of_the_last_action() -> None:
    each = clocks()
    assert each.expired(9.9) is None
    each.begin_action()
    each.end_action(9.0)
    assert each.next_deadline() == 19.0
    assert each.expired(19.0) is RockletExit.IDLE


def test_a_look_that_counts_starts_the_idle_clock_anew() -> None:
    each = clocks()
    each.renew_idle(5.0)
    assert each.describe(5.0, sandbox_id="s", sessions=0, pid=1).idle_remaining == 10
    assert each.expired(15.0) is RockletExit.IDLE


def test_an_action_in_flight_holds_the_idle_clock() -> None:
    each = clocks()
    each.begin_action()
    each.begin_action()
    each.end_action(5.0)
    assert each.expired(50.0) is None
    assert each.describe(50.0, sandbox_id="s", sessions=0, pid=1).idle_remaining is None
    each.end_action(60.0)
    assert each.expired(69.9) is None
    assert each.expired(70.0) is RockletExit.IDLE


def test_the_lifetime_ends_whatever_is_in_flight() -> None:
    each = clocks()
    each.begin_action()
    assert each.expired(99.9) is None
    assert each.expired(100.0) is RockletExit.MAX_LIFETIME


def test_a_lease_runs_only_if_there_is_one() -> None:
    each = clocks(idle=1000, life=1000)
    assert RockletExit.LEASE not in each.deadlines()
    each.renew_lease(10.0, 5.0)
    assert each.has_lease
    assert each.expired(15.0) is RockletExit.LEASE


def test_a_renewal_starts_the_lease_anew_and_may_change_its_length() -> None:
    each = clocks(idle=1000, life=1000, lease=10)
    each.renew_lease(9.0, None)
    assert each.next_deadline() == 19.0
    each.renew_lease(15.0, 2.0)
    assert each.next_deadline() == 17.0


def test_what_is_left_is_told_and_never_negative() -> None:
    told = clocks(lease=5).describe(7.0, sandbox_id="s", sessions=2, pid=3)
    assert (told.uptime, told.idle_remaining, told.max_lifetime_remaining) == (7.0, 3.0, 93.0)
    assert told.lease_remaining == 0.0
    assert (told.sandbox_id, told.sessions, told.pid, told.actions_in_flight) == ("s", 2, 3, 0)


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "renew"]), st.floats(0, 30)), max_size=30))
def test_something_has_expired_exactly_when_a_deadline_has_passed(steps: list[tuple[str, float]]) -> None:
    each, now = clocks(lease=20), 0.0
    for step, seconds in steps:
        now += seconds
        if step == "begin":
            each.begin_action()
        elif step == "end" and each.actions_in_flight:
            each.end_action(now)
        elif step == "renew":
            each.renew_lease(now, None)
        assert (each.expired(now) is not None) == (each.next_deadline() <= now)


def test_the_clock_goes_forward() -> None:
    assert read_clock() <= read_clock()
    assert read_clock() == pytest.approx(read_clock(), abs=1)
