"""Output as it is collected."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.errors import InvalidRequest
from rocklet.sessions.output import Expectation, Output, to_text


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(2, 300))
def test_head_and_tail_are_kept_and_the_rest_is_counted(pieces: list[bytes], limit: int) -> None:
    output, whole = Output(limit), b"".join(pieces)
    for piece in pieces:
        output.feed(piece)
    kept = output.data
    assert len(kept) + output.cut_bytes == len(whole)
    assert len(kept) == min(len(whole), limit)
    if output.cut_bytes:
        assert whole.startswith(kept[: limit // 2])
        assert whole.endswith(kept[limit // 2 :])
    else:
        assert kept == whole


async def test_bytes_that_are_no_text_are_written_out() -> None:
    assert await to_text(b"\xffa\xe6\x97\xa5\x00") == "\\xffa日\x00"
    long = ("日" * 100_000).encode() + b"\xe6\x97"
    assert await to_text(long) == "日" * 100_000 + "\\xe6\\x97"


async def test_what_one_output_kept_can_be_poured_into_another() -> None:
    small, large = Output(4), Output(100)
    small.feed(b"abcdefgh")
    small.pour_into(large)
    large.feed(b"!")
    assert (await large.text(), large.cut_bytes) == ("abgh!", 4)


async def test_an_ending_is_taken_back_if_it_is_there() -> None:
    for fed, left in ((b"a\n\n", "a\n"), (b"a", "a"), (b"", ""), (b"abcdef\n", "abcdef")):
        output = Output(8)
        output.feed(fed)
        assert output.drop_last(b"\n") == (fed != left.encode())
        assert await output.text() == left
        assert output.size == len(left)
        assert (output.last(0), output.last(1)) == (b"", left.encode()[-1:])


@given(st.text("ab>", max_size=40), st.integers(1, 7))
def test_the_first_expected_text_is_found_however_the_stream_is_cut(stream: str, step: int) -> None:
    texts, data = ["a>b", ">>"], stream.encode()
    ends = [data.index(text.encode()) + len(text) for text in texts if text in stream]
    watch, found = Expectation(texts), None
    for start in range(0, len(data), step):
        end = watch.feed(data[start : start + step])
        if end is not None:
            found = start + end
            break
    assert found == (min(ends) if ends else None)
    assert (watch.seen is None) == (not ends)


@given(st.text("ab>", max_size=40), st.integers(1, 7))
def test_the_first_match_is_found_however_the_stream_is_cut(stream: str, step: int) -> None:
    found = re.search("a+>", stream)
    watch, end = Expectation(["a+>", "c"], are_patterns=True), None
    for start in range(0, len(stream), step):
        seen = watch.feed(stream.encode()[start : start + step])
        if seen is not None:
            end = start + seen
            break
    assert end == (found.end() if found else None)
    assert watch.seen == ("a+>" if found else None)


def test_what_is_no_expression_names_itself() -> None:
    with pytest.raises(InvalidRequest, match="no regular expression"):
        Expectation(["("], are_patterns=True)
