from __future__ import annotations

from pathlib import Path

from rock_nomad.embedded.drivers.directories import TaskDirectories


def test_directories_are_laid_out_as_nomads_and_made_parents_first(tmp_path: Path) -> None:
    directories = TaskDirectories(str(tmp_path / "a1"), "rocklet")
    directories.make()
    directories.make()
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert {"a1/alloc/logs", "a1/rocklet/local", "a1/rocklet/secrets", "a1/rocklet/private"} <= found
    assert set(directories.all()) <= {str(tmp_path / one) for one in found}
