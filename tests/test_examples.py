"""Every example of `jobspecs/examples` is submitted, as processes and in containers, on each kind of cluster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clis import DEVS, clean_environment, rock_nomad
from tests.engine import Engine
from tests.gems import find_gem_packages

pytestmark = pytest.mark.slow

IMAGE = "python:3.11"
"""What the examples name."""

SAID = ("hello from Linux", "FAILED (failures=1)", "OK", "this sandbox holds GPU-", "4 of 4 went as they should")


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """What stands in for the examples' image: one with gem-llm, if this machine has that."""
    packages = find_gem_packages()
    return engine.python_with(packages) if packages else engine.python


def _submit_all(folder: Path, *options: str) -> str:
    gpus = ("--simulate-gpus", "NVIDIA H100 80GB HBM3:2")
    told = ("dev", "--port", "0", *gpus, *options, "--submit", "jobspecs/examples")
    ran = rock_nomad(*told, environment=clean_environment(folder), timeout=240)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    for shown in SAID:
        assert shown in said
    return said


def _plays_sokoban(said: str) -> bool:
    return len(re.findall(r"episode \d: return [+-]\d\.\d\d after \d+ steps", said)) == 5


@pytest.mark.parametrize("options", DEVS[1:])  # on the embedded cluster `make run` does it, and is tested
def test_the_examples_run_as_processes(tmp_path: Path, options: tuple[str, ...]) -> None:
    said = _submit_all(tmp_path, *options)
    assert _plays_sokoban(said) or "not played" in said


@pytest.mark.parametrize("options", DEVS)
def test_the_examples_run_in_containers(tmp_path: Path, engine: Engine, image: str, options: tuple[str, ...]) -> None:
    with engine.aliased(image, IMAGE):
        said = _submit_all(tmp_path, "--isolation", "runc", *options)
    has_gem = find_gem_packages() is not None
    assert _plays_sokoban(said) or (not has_gem and "not played: this sandbox hosts no environments" in said), said
