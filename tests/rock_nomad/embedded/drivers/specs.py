"""Tasks for tests of drivers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rock_nomad.embedded.drivers.directories import TaskDirectories
from rock_nomad.embedded.drivers.driver import TaskSpec
from rock_nomad.embedded.interpolation import TASK_PATH

__all__ = ["make_spec"]


def make_spec(root: Path = Path("/nowhere"), *, config: dict[str, Any], **fields: Any) -> TaskSpec:  # noqa: ANN401
    """A task below `root`, whose directories are made if that exists."""
    directories = TaskDirectories(str(root), "rocklet")
    if root.exists():
        for path in directories.all():
            Path(path).mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "allocation_id": root.name, "task": "rocklet", "config": config, "directories": directories,
        "environment": {"PATH": TASK_PATH, "MARK": "x"}, "user": "", "cpu": 100,
        "memory_mb": 200, "ports": {}, "mounts": (), "say": lambda _text, _details: None, "kill_signal": "",
        "kill_timeout": 5.0, "log_files": 2, "log_file_bytes": 2**20, **fields,
    }  # fmt: skip
    return TaskSpec(**given)
