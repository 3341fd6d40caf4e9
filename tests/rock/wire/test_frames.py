from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.frames import HEARTBEAT, FrameDecoder, FrameKind, encode_frame

FRAMES = st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=300)))


@given(FRAMES, st.lists(st.integers(min_value=1, max_value=40)))
def test_frames_come_out_as_they_went_in_wherever_they_are_cut(
    frames: list[tuple[FrameKind, bytes]], sizes: list[int]
) -> None:
    data = b"".join(encode_frame(*frame) for frame in frames)
    decoder, seen = FrameDecoder(), list[tuple[FrameKind, bytes]]()
    for size in sizes:
        seen += decoder.feed(data[:size])
        data = data[size:]
    assert [*seen, *decoder.feed(data)] == frames


def test_a_heartbeat_is_an_empty_frame() -> None:
    assert list(FrameDecoder().feed(HEARTBEAT)) == [(FrameKind.HEARTBEAT, b"")]


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="72"):
        list(FrameDecoder().feed(b"HTTP/1.1 502 Bad Gateway"))
