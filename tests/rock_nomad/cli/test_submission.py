import json
from pathlib import Path

import pytest

from tests.clis import Dev

pytestmark = pytest.mark.slow

SMALL = "sandbox: {cpus: 0.05, memory: 64m, disk: 32m}\n"


def _running(dev: Dev) -> list[str]:
    return [row["sandbox_id"] for row in json.loads(dev.rock_nomad("ls", "--state", "running", "-o", "json").stdout)]


def test_a_file_goes_up_is_worked_on_and_comes_down(dev: Dev, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data.bin").write_bytes(bytes(range(256)))
    (tmp_path / "in" / "tool.sh").write_text("#!/bin/sh\ncat in/data.bin in/data.bin > out.bin\n")
    (tmp_path / "in" / "tool.sh").chmod(0o755)
    request = tmp_path / "request.yaml"
    steps = "steps:\n- {upload: in, to: ~/in}\n- run: cd ~ && in/tool.sh\n- {download: ~/out.bin, to: out.bin}\n"
    request.write_text(SMALL + steps)
    ran = dev.rock_nomad("submit", str(request))
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out.bin").read_bytes() == bytes(range(256)) * 2
    assert "uploaded in to ~/in (2 files)" in ran.stderr


def test_a_step_that_fails_ends_the_run_and_leaves_no_sandbox(dev: Dev, tmp_path: Path) -> None:
    before = _running(dev)
    (tmp_path / "a.yaml").write_text(SMALL + "steps: [{run: 'echo first; exit 4'}, {run: echo second}]\n")
    (tmp_path / "b.yaml").write_text(SMALL + "steps: [{run: echo third}]\n")
    ran = dev.rock_nomad("submit", str(tmp_path))
    assert ran.returncode == 1
    assert "a: failed: a: 'echo first; exit 4': exit 4 (" in ran.stderr
    assert "but 0 was expected" in ran.stderr
    assert ran.stdout.count("first") == 2
    assert "second" not in ran.stdout
    assert "third" in ran.stdout
    assert "1 of 2 went as they should; not a" in ran.stderr
    assert _running(dev) == before


def test_a_sandbox_can_be_kept(dev: Dev, tmp_path: Path) -> None:
    request = tmp_path / "kept.yaml"
    sandbox = "sandbox: {sandbox_id: kept, cpus: 0.05, memory: 64m, disk: 32m}\n"
    request.write_text(sandbox + "steps: [{run: 'true'}]\n")
    assert dev.rock_nomad("submit", str(request), "--keep").returncode == 0
    assert "kept" in _running(dev)
    dev.rock_nomad("stop", "kept")


def test_a_program_finds_the_cluster_by_its_environment(dev: Dev, tmp_path: Path) -> None:
    program = tmp_path / "trainer.py"
    program.write_text(
        "import os\n"
        "from rock import SandboxConfig, SyncSandbox\n"
        "with SyncSandbox(SandboxConfig(cpus=0.05, memory='64m', base_url=os.environ['ROCK_BASE_URL'])) as sandbox:\n"
        "    print(sandbox.run('echo from inside').output)\n"
    )
    ran = dev.rock_nomad("submit", str(program))
    assert (ran.returncode, "from inside" in ran.stdout) == (0, True), ran.stderr
    program.write_text("raise SystemExit(4)")
    ran = dev.rock_nomad("submit", str(program))
    assert ran.returncode == 1
    assert "trainer.py ended with exit code 4" in ran.stderr
