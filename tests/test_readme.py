"""What the README says to type is typed here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clis import DEVS, ROOT, Dev, clean_environment, start_dev
from tests.gems import find_gem_packages

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line and not line.startswith("#")]
SERVERS = {"dev"}
"""Commands that serve until they are stopped; each is started by a test of its own."""

pytestmark = pytest.mark.slow


def _is_server(command: str) -> bool:
    return shlex.split(command)[1] in SERVERS


@pytest.fixture(scope="module", params=DEVS)
def dev(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    gpus = ("--simulate-gpus", "NVIDIA H100 80GB HBM3:2")
    with start_dev(tmp_path_factory.mktemp("dev"), *gpus, *request.param) as running:
        yield running


def test_the_commands_work_in_the_order_they_stand(dev: Dev) -> None:
    for command in COMMANDS:
        if not _is_server(command):
            program, *arguments = shlex.split(command)
            assert program == ".venv/bin/rock-nomad"
            ran = dev.rock_nomad(*arguments)
            assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
            assert ran.stdout + ran.stderr or arguments[0] == "cp"  # as quiet as cp is


def test_the_programs_run_as_they_stand(dev: Dev) -> None:
    programs = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert programs
    for program in programs:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env=dev.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.strip() == "42"


def test_the_servers_named_are_started_by_tests() -> None:
    assert {shlex.split(command)[1] for command in COMMANDS if _is_server(command)} == SERVERS


def test_the_map_names_what_there_is() -> None:
    rows = re.findall(r"^\| `([^`]+/)` \|", README, re.MULTILINE)
    assert all((ROOT / row).exists() for row in rows)
    mapped = {Path(row).parts[0] for row in rows}
    assert {"sdk", "rocklet", "rock_nomad", "jobspecs", "tests"} <= mapped


def test_make_run_sets_up_runs_the_examples_and_leaves_nothing(tmp_path: Path) -> None:
    ran = subprocess.run(
        ["make", "run"],
        cwd=ROOT,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    for shown in ("hello from Linux", "FAILED (failures=1)", "OK", "this sandbox holds GPU-", "4 of 4 went"):
        assert shown in said
    if find_gem_packages() is not None:  # every example that needs none has run all the same
        assert len(re.findall(r"episode \d: return [+-]\d\.\d\d after \d+ steps", said)) == 5
    assert not list(tmp_path.iterdir())
