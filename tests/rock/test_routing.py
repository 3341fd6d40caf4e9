from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock._routing import Attempt, Direct, Outcome, Way, next_way

D, R, G = Way.DIRECT, Way.RESOLVED, Way.GATEWAY
UNREACHABLE, REFUSED, LOST, STALE = Outcome.UNREACHABLE, Outcome.REFUSED, Outcome.LOST, Outcome.STALE


def ways(direct: Direct, outcomes: list[Outcome], *, can_reach: bool = True, is_known: bool = True) -> list[Way]:
    """The ways a call takes if its attempts fail so, in turn."""
    tried: list[Attempt] = []
    for outcome in outcomes:
        way = next_way(direct, can_reach=can_reach, is_known=is_known, tried=tried)
        if way is None:
            break
        tried.append((way, outcome))
    return [way for way, _ in tried]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([UNREACHABLE, UNREACHABLE, UNREACHABLE], [D, G]),
        ([LOST, LOST, LOST, LOST], [D, D, G, G]),
        ([LOST, REFUSED, REFUSED, UNREACHABLE], [D, D, R, G]),
        ([STALE, STALE, UNREACHABLE], [D, R, G]),
        ([REFUSED, LOST, UNREACHABLE, UNREACHABLE], [D, R, D, G]),
    ],
)
def test_where_the_host_is_known_to_be_reachable_the_rocklet_comes_first(
    outcomes: list[Outcome], expected: list[Way]
) -> None:
    assert ways("auto", outcomes)[: len(expected)] == expected


def test_where_the_host_is_not_known_to_be_reachable_the_gateway_comes_first() -> None:
    assert ways("auto", [LOST], can_reach=False) == [G]
    assert ways("auto", [LOST], can_reach=False, is_known=False) == [G]


def test_when_no_gateway_answers_the_rocklet_is_tried_if_its_address_is_known() -> None:
    assert ways("auto", [REFUSED, UNREACHABLE, LOST], can_reach=False)[:2] == [G, D]
    assert ways("auto", [REFUSED, UNREACHABLE], can_reach=False, is_known=False) == [G]


def test_never_direct_means_the_gateway_alone() -> None:
    assert ways("never", [LOST] * 5) == [G, G]
    assert ways("never", [REFUSED] * 5) == [G]


def test_always_direct_never_falls_back() -> None:
    assert ways("always", [LOST] * 5) == [D, D, R]
    assert ways("always", [UNREACHABLE] * 5) == [D]
    assert ways("always", [STALE, STALE, STALE]) == [D, R]
    assert ways("always", [LOST], is_known=False) == [R]


@given(
    direct=st.sampled_from(get_args(Direct)),
    outcomes=st.lists(st.sampled_from(Outcome), min_size=12, max_size=12),
    can_reach=st.booleans(),
    is_known=st.booleans(),
)
def test_every_call_comes_to_an_end(direct: Direct, outcomes: list[Outcome], can_reach: bool, is_known: bool) -> None:
    taken = ways(direct, outcomes, can_reach=can_reach, is_known=is_known)
    assert 1 <= len(taken) <= 6
    assert taken.count(R) <= 1
    assert taken.count(G) <= 2
