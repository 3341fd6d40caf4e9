from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rock_nomad.cli.stdin import read_stdin


async def test_a_pipe_is_read_as_it_is_written_and_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        waiting = asyncio.ensure_future(read_stdin())
        await asyncio.sleep(0)
        os.write(writing, b"one")
        assert await waiting == b"one"
        os.close(writing)
        assert await read_stdin() == b""


async def test_a_file_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("all of it")
    with (tmp_path / "in").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert await read_stdin() == b"all of it"
        assert await read_stdin() == b""


async def test_a_wait_that_is_called_off_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await read_stdin()
        assert not asyncio.get_running_loop().remove_reader(reading)
    os.close(writing)
