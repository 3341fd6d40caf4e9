from __future__ import annotations

from pathlib import Path

import pytest

from tests.clis import clean_environment, rock_nomad

pytestmark = pytest.mark.slow


def test_install_writes_what_nomad_starts_and_prints_its_block(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    ran = rock_nomad("device-plugin", "install", str(folder), environment=clean_environment(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert (folder / "nomad-device-rock").stat().st_mode & 0o111
    assert ran.stdout.startswith(f'plugin_dir = "{folder}"\n\nplugin "nomad-device-rock" {{\n')


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = rock_nomad("device-plugin", "install", str(tmp_path / "file"), environment=clean_environment(tmp_path))
    assert ran.returncode == 2
    assert f"DIR is '{tmp_path}/file'; it must be one that can be written" in " ".join(ran.stderr.split())
