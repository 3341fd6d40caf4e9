from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bundles import need_bundle
from tests.clis import clean_environment, rock_nomad

pytestmark = pytest.mark.slow


def test_build_makes_a_bundle_and_says_where_it_is_and_what_its_archives_checksum_is(tmp_path: Path) -> None:
    bundle = need_bundle()
    ran = rock_nomad("bundle", "build", str(bundle.parent), "--archive", environment=clean_environment(tmp_path))
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.splitlines()
    assert re.fullmatch(rf"{bundle.parent}/current -> {bundle.name} \(\d\d(\.\d)? MB\)", first)
    assert re.fullmatch(rf"{bundle}\.tar\.gz sha256:[0-9a-f]{{64}}", second)


def test_a_folder_that_cannot_be_written_is_the_callers_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = rock_nomad("bundle", "build", str(tmp_path / "file" / "x"), environment=clean_environment(tmp_path))
    assert ran.returncode == 2
    assert f"error: {tmp_path}/file/x cannot be written" in ran.stderr


def test_without_a_command_it_says_which_there_are(tmp_path: Path) -> None:
    ran = rock_nomad("bundle", environment=clean_environment(tmp_path))
    assert "build" in ran.stdout + ran.stderr
