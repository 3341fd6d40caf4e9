from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from rock_nomad.embedded.drivers.guard import LogFile
from rock_nomad.embedded.drivers.logs import read_frames


def _data(frames: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(frame["Data"]) for frame in frames if frame)


async def _read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(frame) async for frame in read_frames(folder, "rocklet.stderr", follow=False)]


async def test_a_log_is_read_across_the_files_that_are_kept_in_their_order(tmp_path: Path) -> None:
    written = b"".join(b"%06d " % number for number in range(40_000))
    LogFile(str(tmp_path / "rocklet.stderr"), 100_000, 2).write(written)
    frames = await _read(tmp_path)
    assert _data(frames) == written[100_000:]
    assert [frame["File"].rpartition(".")[2] for frame in frames] == ["1", "1", "2", "2"]
    assert [frame["Offset"] for frame in frames] == [65_536, 100_000, 65_536, 80_000]


async def test_a_log_of_which_nothing_is_there_is_empty(tmp_path: Path) -> None:
    (tmp_path / "rocklet.stdout.0").write_text("of the other stream")
    assert await _read(tmp_path) == []


@pytest.mark.slow
async def test_one_that_is_followed_shows_what_comes_in_new_files_too_and_beats_in_between(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "rocklet.stderr"), 1000, 2)
    log.write(b"a" * 10)
    frames = read_frames(tmp_path, "rocklet.stderr", follow=True)
    seen = [json.loads(await anext(frames))]
    log.write(b"b" * 1000)
    seen += [json.loads(await anext(frames)) for _ in range(2)]
    assert _data(seen) == b"a" * 10 + b"b" * 1000
    assert json.loads(await anext(frames)) == {}
    log.write(b"c")
    assert _data([json.loads(await anext(frames))]) == b"c"
    await frames.aclose()
