"""Limits of a task's memory and processes by cgroup, v1 or v2, where the kernel lets us."""

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

MAX_PROCESSES = 8192  # of one task; a fork bomb ends here and not in the machine
_MIB = 1024 * 1024
_ROOT = Path("/sys/fs/cgroup")
# Controller -> the files that hold its limit: v1's, or v2's.
_LIMITS = {
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "pids": ("pids.max", "pids.max"),
}


class Cgroups:
    """The directories under which each task gets its own; empty where none can be made."""

    def __init__(self, name: str) -> None:
        self._parents = list(_parents(name))
        if not self._parents:
            log.warning("no cgroup can be made here: tasks run without limits of memory and processes")

    def create(self, task: str, memory_mb: int) -> list[str]:
        """Directories with limits, for the guard to fill and to remove."""
        made: list[str] = []
        for parent in self._parents:
            path = parent / task
            try:
                parent.mkdir(exist_ok=True)
                path.mkdir(exist_ok=True)
                made.append(str(path))
                _limit(path, memory_mb)
            except OSError as error:
                log.warning("no limits by %s: %s", path, error)
        return made

    def close(self) -> None:
        """Remove what is left: guards remove their own, unless somebody killed them."""
        for parent in self._parents:
            for path in (*parent.glob("*/"), parent):
                with contextlib.suppress(OSError):
                    path.rmdir()


def _parents(name: str) -> list[Path]:
    found: list[Path] = []
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(",") if controllers else [""], path.lstrip("/"))
    bases = [_ROOT / controller / own[controller] for controller in _LIMITS if controller in own]
    if not bases and "" in own:
        bases = [_ROOT / own[""]]
    for base in bases:
        parent = base / name
        try:
            parent.mkdir()
        except OSError:
            continue
        if any((parent / file).exists() for files in _LIMITS.values() for file in files):
            found.append(parent)
        # Made again with the first task, and removed with the last by its guard: an idle server that is killed leaves
        # nothing here.
        parent.rmdir()
    return found


def _limit(path: Path, memory_mb: int) -> None:
    values = {"memory": str(memory_mb * _MIB), "pids": str(MAX_PROCESSES)}
    for controller, files in _LIMITS.items():
        for file in files:
            if os.path.exists(path / file):
                (path / file).write_text(values[controller])
                break
