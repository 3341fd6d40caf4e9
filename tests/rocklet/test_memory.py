"""The kernel's count of what it killed."""

from __future__ import annotations

from rocklet.memory import OomCounter


def test_the_count_is_a_number_that_never_falls() -> None:
    counter = OomCounter()
    first = counter.count()
    assert 0 <= first <= counter.count()
    counter.close()
    counter.close()
    assert counter.count() == 0
