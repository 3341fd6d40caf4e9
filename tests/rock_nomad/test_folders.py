from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rock_nomad.folders import make_once


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    make_once(tmp_path / "new" / "folder-1.0", lambda aside: aside.mkdir())
    make_once(tmp_path / "new" / "folder-1.0", lambda _: pytest.fail("made again"))
    assert (tmp_path / "new" / "folder-1.0").is_dir()


def test_what_is_half_made_is_not_taken_for_whole(tmp_path: Path) -> None:
    def fail(aside: Path) -> None:
        aside.mkdir()
        (aside / "half").touch()
        raise ConnectionError

    with pytest.raises(ConnectionError):
        make_once(tmp_path / "folder", fail)
    assert not (tmp_path / "folder").exists()
    make_once(tmp_path / "folder", lambda aside: aside.mkdir())
    assert not list((tmp_path / "folder").iterdir())


def test_two_at_once_make_one(tmp_path: Path) -> None:
    both_are_here = threading.Barrier(2)
    made: list[Path] = []

    def make(aside: Path) -> None:
        aside.mkdir()
        made.append(aside)

    def come() -> None:
        both_are_here.wait()
        make_once(tmp_path / "folder", make)

    threads = [threading.Thread(target=come) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
