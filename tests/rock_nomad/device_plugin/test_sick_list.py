from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from rock_nomad.device_plugin.sick_list import SickList


def test_the_list_outlives_the_plugin(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sick.json"
    assert SickList(path).read() == {}
    SickList(path).add("GPU-1", "XID 79")
    SickList(path).add("GPU-2", "XID 48")
    assert SickList(path).read() == {"GPU-1": "XID 79", "GPU-2": "XID 48"}
    SickList(path).remove("GPU-1")
    assert SickList(path).read() == {"GPU-2": "XID 48"}


def test_the_operator_may_edit_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sick.json"
    sick = SickList(path)
    sick.add("GPU-1", "XID 79")
    sick.add("GPU-2", "XID 48")
    kept = json.loads(path.read_text())
    del kept["GPU-1"]
    path.write_text(json.dumps(kept))
    assert sick.read() == {"GPU-2": "XID 48"}
    path.unlink()
    assert sick.read() == {}


def test_a_broken_file_heals_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "sick.json"
    sick = SickList(path)
    sick.add("GPU-1", "XID 79")
    path.write_text("{")
    assert sick.read() == {"GPU-1": "XID 79"}
    assert "kept as it was" in caplog.text


def test_a_list_that_cannot_be_written_is_kept_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    sick = SickList(tmp_path / "file" / "sick.json")
    sick.add("GPU-1", "XID 79")
    assert sick.read() == {"GPU-1": "XID 79"}
    sick.remove("GPU-1")
    assert sick.read() == {}
    assert any(record.levelno == logging.ERROR for record in caplog.records)
