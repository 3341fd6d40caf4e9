from __future__ import annotations

import os
from pathlib import Path

import pytest

from rock_nomad.embedded.drivers.cgroups import MAX_PROCESSES, Cgroups

LIMITS = ("memory.limit_in_bytes", "memory.max", "pids.max")


def test_a_task_gets_directories_with_its_limits() -> None:
    cgroups = Cgroups(f"rock-nomad-test-{os.getpid()}")
    made = cgroups.create("task", 64)
    try:
        if not made:
            pytest.skip("no cgroup can be made on this machine")
        files = [path for one in made for path in Path(one).iterdir() if path.name in LIMITS]
        limits = {path.read_text().strip() for path in files}
        assert str(MAX_PROCESSES) in limits
        assert str(64 * 2**20) in limits or "memory" not in "".join(made)
    finally:
        for one in made:
            os.rmdir(one)
        cgroups.close()
    assert not any(Path(one).parent.exists() for one in made)
