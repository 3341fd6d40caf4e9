from __future__ import annotations

from pathlib import Path

import pytest

from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.errors import DeployFailed

pytestmark = pytest.mark.slow  # a real rocklet


async def test_a_directory_is_deployed_and_its_place_is_known(sandbox: Sandbox, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "a.txt").write_text("a")
    assert not sandbox.deploy.working_dir
    assert await sandbox.deploy.deploy_working_dir(source, str(target)) == str(target)
    assert str(sandbox.deploy.working_dir) == str(target)
    assert (target / "a.txt").read_text() == "a"


async def test_a_directory_that_cannot_be_deployed_is_an_error(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="local_path not found"):
        await sandbox.deploy.deploy_working_dir(tmp_path / "none")
    with pytest.raises(ValueError, match="must be a directory"):
        await sandbox.deploy.deploy_working_dir(tmp_path / "file")
    with pytest.raises(DeployFailed, match="Failed to upload directory") as caught:
        await sandbox.deploy.deploy_working_dir(tmp_path, "/proc/nowhere")
    assert isinstance(caught.value, RuntimeError)
    assert sandbox.deploy.working_dir is None


def test_only_known_names_are_replaced_in_a_template() -> None:
    deploy = Sandbox(SandboxConfig()).deploy
    assert deploy.format("cat <<working_dir>>/x") == "cat <<working_dir>>/x"
    deploy._working_dir = "/work"
    formatted = deploy.format("cat <<working_dir>>/${name} $((3 << 2 >> 1)) $x", name="a")
    assert formatted == "cat /work/a $((3 << 2 >> 1)) $x"
