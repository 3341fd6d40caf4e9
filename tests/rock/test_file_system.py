from __future__ import annotations

from pathlib import Path

import pytest

from rock._requests import ChmodRequest, ChownRequest
from rock._sandbox import Sandbox
from rock.errors import BadRequestRockError, NotInThisClient

pytestmark = pytest.mark.slow  # a real rocklet


async def test_modes_and_owners_are_changed(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("x")
    changed = await sandbox.fs.chmod(ChmodRequest(paths=[str(folder)], mode="700", recursive=True))
    assert changed.success
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "file")] == [0o700, 0o700]
    owned = await sandbox.fs.chown(ChownRequest(remote_user="nobody-here", paths=[str(folder)]))
    assert not owned.success
    assert "nobody-here" in owned.message
    assert (await sandbox.fs.chown(ChownRequest(remote_user="root", paths=[str(folder)], recursive=True))).success


async def test_no_paths_are_refused(sandbox: Sandbox) -> None:
    with pytest.raises(BadRequestRockError, match="paths is empty"):
        await sandbox.fs.chmod(ChmodRequest())
    with pytest.raises(BadRequestRockError, match="paths is empty"):
        await sandbox.fs.chown(ChownRequest(remote_user="root"))


async def test_an_uploaded_directory_takes_the_place_of_the_one_that_was_there(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "a target"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "run.sh").write_text("echo hi")
    (source / "deep" / "run.sh").chmod(0o755)
    (source / "link").symlink_to("deep/run.sh")
    target.mkdir()
    (target / "old").write_text("old")
    observation = await sandbox.fs.upload_dir(source, str(target))
    assert (observation.exit_code, observation.failure_reason) == (0, "")
    assert sorted(path.name for path in target.iterdir()) == ["deep", "link"]
    assert (target / "deep" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (target / "link").is_symlink()


async def test_a_directory_that_cannot_be_uploaded_says_why(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for source, target, reason in (
        (tmp_path / "none", "/tmp/x", "source_dir not found"),
        (tmp_path / "file", "/tmp/x", "source_dir must be a directory"),
        (tmp_path, "relative", "target_dir must be absolute path: relative"),
        (tmp_path, "/proc/nowhere", "tar extract failed"),
    ):
        observation = await sandbox.fs.upload_dir(source, target)
        assert observation.exit_code == 1
        assert reason in observation.failure_reason


async def test_a_file_is_downloaded_or_the_answer_says_why_not(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "remote").write_bytes(b"\0\xff")
    assert (await sandbox.fs.download_file(str(tmp_path / "remote"), tmp_path / "local")).success
    assert (tmp_path / "local").read_bytes() == b"\0\xff"
    missing = await sandbox.fs.download_file(str(tmp_path / "none"), tmp_path / "other")
    assert (missing.success, bool(missing.message)) == (False, True)


async def test_a_tool_of_an_object_store_is_not_there(sandbox: Sandbox) -> None:
    with pytest.raises(NotInThisClient, match="ensure_ossutil"):
        await sandbox.fs.ensure_ossutil()
