from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.errors import FileAccess, InvalidRequest
from rock.wire.frames import FrameDecoder, FrameKind
from rocklet.command_log import CommandLog

STREAMS = st.sampled_from([FrameKind.STDOUT, FrameKind.STDERR])
MUCH = 2**30


def read_all(log: CommandLog, cursor: int) -> list[tuple[FrameKind, bytes]]:
    reader, decoder = log.open_reader(cursor), FrameDecoder()
    frames: list[tuple[FrameKind, bytes]] = []
    while data := reader.read():
        frames += decoder.feed(data)
    reader.close()
    return frames


def as_bytes(frames: list[tuple[FrameKind, bytes]]) -> list[tuple[FrameKind, int]]:
    return [(kind, byte) for kind, payload in frames for byte in payload]


@given(st.lists(st.tuples(STREAMS, st.binary(min_size=1, max_size=70_000)), max_size=12), st.data())
def test_from_any_cursor_comes_what_is_behind_it(frames: list[tuple[FrameKind, bytes]], data: st.DataObject) -> None:
    async def check() -> None:
        with contextlib.closing(CommandLog(MUCH, lambda size: True)) as log:
            for frame in frames:
                log.append(*frame)
            cursor = data.draw(st.integers(0, log.output_bytes))
            assert as_bytes(read_all(log, cursor)) == as_bytes(frames)[cursor:]

    asyncio.run(check())


async def test_many_small_frames_are_found_too() -> None:
    log = CommandLog(MUCH, lambda size: True)
    for number in range(40_000):
        log.append(FrameKind.STDOUT if number % 2 else FrameKind.STDERR, b"%05d" % number)
    assert read_all(log, 5 * 39_998 + 2) == [(FrameKind.STDERR, b"998"), (FrameKind.STDOUT, b"39999")]
    log.close()


async def test_what_is_beyond_its_limit_is_counted_and_leaves_no_gap() -> None:
    log = CommandLog(10, lambda size: True)
    for text in (b"012345", b"6789ab", b"c"):
        log.append(FrameKind.STDOUT, text)
    assert read_all(log, 0) == [(FrameKind.STDOUT, b"012345"), (FrameKind.STDOUT, b"6789")]
    assert (log.output_bytes, log.cut_bytes, log.failure) == (10, 3, "")
    log.close()


async def test_it_stops_where_the_disk_may_not_be_used_and_gives_back_what_it_had() -> None:
    left = 12

    def take_room(size: int) -> bool:
        nonlocal left
        has_room = size <= left
        left -= size if has_room else 0
        return has_room

    log = CommandLog(MUCH, take_room)
    for text in (b"012345", b"678"):
        log.append(FrameKind.STDOUT, text)
    assert (log.output_bytes, log.cut_bytes, left) == (6, 3, 1)
    assert "the disk that they may use" in log.failure
    log.close()
    assert left == 12


async def test_it_stops_where_the_file_cannot_grow() -> None:
    log = CommandLog(MUCH, lambda size: True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))  # Python ignores SIGXFSZ, so that this is an error
    try:
        log.append(FrameKind.STDOUT, b"0123456789")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (read_all(log, 0), log.cut_bytes) == ([], 10)
    assert log.failure == "its log has stopped: the disk is full"
    log.close()


async def test_without_a_directory_there_is_no_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(FileAccess, match=os.strerror(errno.ENOENT)):
        CommandLog(MUCH, lambda size: True)


async def test_a_cursor_behind_the_end_is_refused() -> None:
    log = CommandLog(MUCH, lambda size: True)
    with pytest.raises(InvalidRequest, match="cursor is 1"):
        log.open_reader(1)
    log.close()


async def test_a_reader_outlives_the_log_and_hears_of_its_end() -> None:
    log = CommandLog(MUCH, lambda size: True)
    log.append(FrameKind.STDOUT, b"last words")
    reader = log.open_reader(0)
    log.end()
    log.close()
    assert list(FrameDecoder().feed(reader.read())) == [(FrameKind.STDOUT, b"last words")]
    async with asyncio.timeout(60):
        await reader.wait_more()
    reader.close()
