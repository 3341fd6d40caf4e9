from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock_nomad.embedded.units import SECOND, format_duration, format_time, parse_duration


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (2 * SECOND, "2s"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h0m0s"),
        (500_000_000, "500ms"),
        (1_500_000_000, "1.5s"),
        (1_500, "1.5µs"),
        (7, "7ns"),
    ],
)
def test_durations_are_written_as_go_does(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text
    assert parse_duration(text) == nanoseconds


@given(st.integers(0, 10**6))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds * 1_000_000)) == milliseconds * 1_000_000


@pytest.mark.parametrize("text", ["", "5", "5x", "s", "1s 2s", "-1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


def test_times_have_nanoseconds_and_no_trailing_zeros() -> None:
    assert format_time(1795256230 * SECOND + 476372726) == "2026-11-21T10:17:10.476372726Z"
    assert format_time(SECOND // 2) == "1970-01-01T00:00:00.5Z"
    assert format_time(SECOND) == "1970-01-01T00:00:01Z"
