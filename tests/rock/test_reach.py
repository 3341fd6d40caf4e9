from __future__ import annotations

from rock._reach import Reach


def test_nothing_is_known_of_a_host_at_first() -> None:
    assert Reach().verdict("h") is None


def test_a_host_that_was_reached_stays_reachable() -> None:
    now = 0.0
    reach = Reach(lambda: now)
    reach.learn("h", is_reachable=True)
    now = 1e6
    assert reach.verdict("h") is True
    assert reach.verdict("other") is None


def test_a_host_that_was_not_reached_is_tried_again_after_a_while() -> None:
    now = 0.0
    reach = Reach(lambda: now)
    reach.learn("h", is_reachable=False)
    now = 29.0
    assert reach.verdict("h") is False
    now = 31.0
    assert reach.verdict("h") is None


def test_the_last_attempt_counts() -> None:
    reach = Reach()
    reach.learn("h", is_reachable=True)
    reach.learn("h", is_reachable=False)
    assert reach.verdict("h") is False
