from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rock_nomad.loopback.leftovers import sweep
from tests.cluster import missing_parts


def test_a_folder_that_is_not_there_is_swept_already(tmp_path: Path) -> None:
    sweep(tmp_path / "none")


@pytest.mark.slow
def test_processes_that_name_the_folder_end_with_all_below_them(tmp_path: Path) -> None:
    folder = tmp_path / "real-0"
    (folder / "tmp").mkdir(parents=True)
    # A child with an environment of its own, in a session of its own: as a command of a rocklet.
    code = "import subprocess; subprocess.run(['env', '-i', 'setsid', 'sh', '-c', 'echo up; exec sleep 600'])"
    ours = {**os.environ, "TMPDIR": f"{folder}/tmp"}
    with (
        subprocess.Popen([sys.executable, "-c", code], env=ours, stdout=subprocess.PIPE) as task,
        subprocess.Popen(["sleep", "600"], env={**os.environ, "TMPDIR": f"{folder}0/tmp"}) as somebody_else,
    ):
        assert task.stdout is not None
        assert task.stdout.readline() == b"up\n"
        sweep(folder)
        assert task.stdout.read() == b""  # all who held it have ended
        assert somebody_else.poll() is None
        somebody_else.kill()
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_parts("real")), reason=str(missing_parts("real")))
def test_what_is_mounted_there_is_unmounted(tmp_path: Path) -> None:
    folder = tmp_path / "real-0"
    secrets = folder / "node-0" / "secrets"
    secrets.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(secrets)], check=True)
    sweep(folder)
    assert not folder.exists()
    assert str(secrets) not in Path("/proc/self/mounts").read_text()
