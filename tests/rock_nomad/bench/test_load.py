from __future__ import annotations

import asyncio
import math
import time
from collections import Counter

import pytest

from rock_nomad.bench.load import Measured, Round, Subject, measure


def _round(**given: float) -> Round:
    figures = {"rate": 1.0, "client_cpu": 0.0, "server_cpu": math.nan, **given}
    return Round(times=[0.1], **figures)


class Log:
    """What was called, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    def subject(self, name: str) -> Subject:
        async def call(session: int) -> None:
            self.entries.append((name, session))
            await asyncio.sleep(0)

        return Subject(name=name, call=call)

    def count(self) -> Counter[str]:
        return Counter(name for name, _ in self.entries)


async def test_each_subject_is_called_as_often_as_asked_and_once_before() -> None:
    log = Log()
    found = await measure([log.subject("a"), log.subject("b")], calls=20, rounds=3, round_seconds=60)
    assert log.count() == {"a": 61, "b": 61}
    assert [(each.name, [len(its.times) for its in each.rounds]) for each in found] == [
        ("a", [20] * 3),
        ("b", [20] * 3),
    ]


async def test_subjects_take_turns_within_a_round() -> None:
    log = Log()
    await measure([log.subject("a"), log.subject("b")], calls=20, rounds=1, round_seconds=60)
    turns = "".join(name for name, _ in log.entries)
    assert turns == "ab" + "aabb" * 10


async def test_sessions_call_at_the_same_time_and_never_twice_each() -> None:
    under_way: set[int] = set()
    most = 0

    async def call(session: int) -> None:
        nonlocal most
        assert session not in under_way
        under_way.add(session)
        most = max(most, len(under_way))
        await asyncio.sleep(0)
        under_way.remove(session)

    (found,) = await measure([Subject(name="a", call=call)], calls=40, sessions=4, rounds=1, round_seconds=60)
    assert (most, len(found.rounds[0].times)) == (4, 40)


async def test_a_round_ends_when_its_time_is_over() -> None:
    log = Log()
    (found,) = await measure([log.subject("a")], calls=10**9, rounds=1, round_seconds=0.05)
    assert len(found.rounds) == 1


async def test_a_subject_too_slow_for_rounds_has_its_first_calls_as_the_only_one() -> None:
    log = Log()
    (found,) = await measure([log.subject("a")], calls=1000, sessions=2, rounds=5, round_seconds=0)
    assert [len(its.times) for its in found.rounds] == [2]
    assert log.count() == {"a": 2}


async def test_what_is_undone_is_not_timed() -> None:
    order: list[str] = []

    async def call(_: int) -> None:
        order.append("call")

    async def undo(_: int) -> None:
        order.append("undo")
        time.sleep(0.02)  # noqa: ASYNC251 - time that must not be counted

    begun = time.perf_counter()
    (found,) = await measure([Subject(name="a", call=call, undo=undo)], calls=2, rounds=1, round_seconds=60)
    assert order == ["call", "undo"] * 3
    assert sum(found.rounds[0].times) <= time.perf_counter() - begun - 3 * 0.02


async def test_a_call_that_fails_ends_it_all_by_its_own_name_and_is_undone() -> None:
    undone = []

    async def call(_: int) -> None:
        raise LookupError

    async def undo(session: int) -> None:
        undone.append(session)

    with pytest.raises(LookupError):
        await measure([Subject(name="a", call=call, undo=undo)], calls=1)
    assert undone == [0]


async def test_cpu_of_both_sides_is_told_by_the_call() -> None:
    used = 0.0

    async def call(_: int) -> None:
        nonlocal used
        used += 0.25
        begun = time.process_time()
        while time.process_time() - begun < 0.001:
            pass

    (found,) = await measure([Subject(name="a", call=call, server_cpu=lambda: used)], calls=10, rounds=2)
    assert [each.server_cpu for each in found.rounds] == [0.25, 0.25]
    assert all(each.client_cpu >= 0.001 for each in found.rounds)


async def test_cpu_that_nobody_can_tell_is_not_a_number() -> None:
    (found,) = await measure([Log().subject("a")], calls=1, rounds=1)
    assert math.isnan(found.rounds[0].server_cpu)


@pytest.mark.parametrize(
    ("count", "p10", "p50", "p99"), [(1, 0, 0, 0), (2, 0, 0.5, 1), (100, 10, 49.5, 99), (1001, 100, 500, 990)]
)
def test_percentiles_of_a_round(count: int, p10: float, p50: float, p99: float) -> None:
    played = Round(times=[float(number) for number in range(count)], rate=1.0, client_cpu=0.0, server_cpu=0.0)
    assert (played.p10, played.p50, played.p99) == (p10, p50, p99)


def test_rounds_are_summed_up() -> None:
    measured = Measured(name="a", rounds=[_round(rate=rate) for rate in (4.0, 1.0, 10.0)])

    def rate(its: Round) -> float:
        return its.rate

    assert (measured.median(rate), measured.mean(rate), measured.spread(rate)) == (4.0, 5.0, (1.0, 10.0))
