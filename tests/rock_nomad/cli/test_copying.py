from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rock_nomad.cli.copying import split_place
from tests.clis import ROOT, Dev


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("box:/a", ("box", "/a")),
        ("group.3:~/a:b", ("group.3", "~/a:b")),
        ("./box:/a", (None, "./box:/a")),
        ("/a", (None, "/a")),
        ("box:", (None, "box:")),
        ("-", (None, "-")),
    ],
)
def test_a_place_is_local_or_in_a_sandbox(text: str, place: tuple[str | None, str]) -> None:
    assert split_place(text) == place


@pytest.mark.slow
def test_a_directory_goes_there_and_back(dev: Dev, sandbox: str, tmp_path: Path) -> None:
    source = tmp_path / "project"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "run").write_text("#!/bin/sh\necho ran\n")
    (source / "bin" / "run").chmod(0o755)
    (source / "data").write_bytes(os.urandom(3 * 2**20))
    (source / "link").symlink_to("bin/run")
    there = dev.rock_nomad("cp", str(source), f"{sandbox}:~/new")
    assert there.returncode == 0, there.stderr
    ran = dev.rock_nomad("exec", sandbox, "--shell", "--", "~/new/link")
    assert (ran.stdout, ran.stderr) == ("ran\n", "")
    assert dev.rock_nomad("cp", f"{sandbox}:~/new", str(tmp_path / "back")).returncode == 0
    compared = subprocess.run(["diff", "-r", source, tmp_path / "back"], capture_output=True, text=True, check=False)
    assert (compared.returncode, compared.stdout) == (0, "")
    assert os.readlink(tmp_path / "back" / "link") == "bin/run"


@pytest.mark.slow
def test_into_a_directory_that_is_there_a_copy_goes_under_its_name(dev: Dev, sandbox: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("text")
    dev.rock_nomad("exec", sandbox, "--shell", "--", "mkdir -p ~/folder")
    assert dev.rock_nomad("cp", str(tmp_path / "file.txt"), f"{sandbox}:~/folder").returncode == 0
    (tmp_path / "local").mkdir()
    assert dev.rock_nomad("cp", f"{sandbox}:~/folder/file.txt", str(tmp_path / "local")).returncode == 0
    assert (tmp_path / "local" / "file.txt").read_text() == "text"


@pytest.mark.slow
def test_a_dash_is_stdin_or_stdout(dev: Dev, sandbox: str) -> None:
    data = os.urandom(2**20)
    assert _cp(dev, "-", f"{sandbox}:~/piped", given=data).returncode == 0
    fetched = _cp(dev, f"{sandbox}:~/piped", "-")
    assert (fetched.returncode, fetched.stdout == data) == (0, True)


def _cp(dev: Dev, source: str, target: str, *, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "rock_nomad", "cp", source, target]
    return subprocess.run(
        command, input=given, cwd=ROOT, env=dev.environment, capture_output=True, timeout=180, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "complaint"),
    [
        ("a", "b", "the other is not"),
        ("SANDBOX:/a", "SANDBOX:/b", "the other is not"),
        ("/nowhere/at/all", "SANDBOX:/tmp", "/nowhere/at/all"),
        ("SANDBOX:/nowhere/at/all", "x", "there is no file /nowhere/at/all"),
        ("SANDBOX:/dev/zero", "x", "neither a file nor a directory"),
        ("SANDBOX:relative", "x", "it must be absolute"),
        ("nobody:/a", "x", "there is no sandbox nobody"),
    ],
)
def test_a_wrong_copy_is_explained(dev: Dev, sandbox: str, source: str, target: str, complaint: str) -> None:
    ran = dev.rock_nomad("cp", source.replace("SANDBOX", sandbox), target.replace("SANDBOX", sandbox))
    assert (ran.returncode, complaint in ran.stderr) == (2, True), ran.stderr
