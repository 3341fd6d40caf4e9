from __future__ import annotations

import os
from pathlib import Path

import pytest

from rock_nomad.loopback.agents import Agent, Command

pytestmark = pytest.mark.slow


def agent(folder: Path, script: str) -> Agent:
    return Agent("one", Command(("sh", "-c", script), folder / "one.log", folder))


def test_it_starts_again_after_it_was_killed_or_stopped(tmp_path: Path) -> None:
    one = agent(tmp_path, "exec sleep 600")
    assert one.find_process_id() is None
    one.start()
    first = one.find_process_id()
    one.start()  # it runs
    assert one.find_process_id() == first
    assert first is not None
    one.kill()
    assert one.find_process_id() is None
    one.start()
    second = one.find_process_id()
    assert second not in (None, first)
    one.stop()
    assert one.find_process_id() is None
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_it_sees_nothing_of_our_environment_but_path_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/ssl/none")
    os.mkfifo(tmp_path / "said")
    one = agent(tmp_path, f"env >&2; echo > {tmp_path}/said; exec sleep 600")
    one.start()
    (tmp_path / "said").read_text()  # waits until it is written
    one.kill()
    assert f"TMPDIR={tmp_path}" in one.last_words()
    assert "AWS_CA_BUNDLE" not in one.last_words()
