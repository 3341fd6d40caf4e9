from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from rock_nomad.embedded.drivers import reaper
from tests.engine import DOCKER_HOST, Engine

pytestmark = pytest.mark.slow

REAPER = Path(reaper.__file__)
SOCKET = DOCKER_HOST.removeprefix("unix://")


def started(engine: Engine, label: str) -> tuple[subprocess.Popen[bytes], str]:
    """A reaper for a label, and a container that carries it."""
    client, name = engine.client, f"rock-nomad-tests-{label}"
    container = client.create_container(engine.busybox, ["sleep", "600"], labels={**engine.labels, name: engine.run})
    client.start(container["Id"])
    command = [sys.executable, "-I", "-S", str(REAPER), SOCKET, f"{name}={engine.run}"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env={}), container["Id"]


def test_containers_go_when_the_pipe_just_ends(engine: Engine) -> None:
    process, container = started(engine, "left")
    process.communicate(timeout=60)
    assert container not in engine.containers()


def test_a_reaper_that_is_told_so_leaves_all_as_it_is(engine: Engine) -> None:
    process, container = started(engine, "kept")
    process.communicate(b".", timeout=60)
    assert container in engine.containers()
    engine.client.remove_container(container, force=True)


def test_an_engine_that_is_gone_does_not_keep_it() -> None:
    command = [sys.executable, "-I", "-S", str(REAPER), "/no/such.sock", "a=b"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, env={}, timeout=60, check=False).returncode == 0


def test_the_reaper_stands_alone() -> None:
    """It starts without site-packages, so it may import nothing but the standard library."""
    imported = [line.split()[1] for line in REAPER.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert all(importlib.util.find_spec(name) and name.split(".")[0] in sys.stdlib_module_names for name in imported)
