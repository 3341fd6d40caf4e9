"""Cgroups of this machine: those there are, and new ones with a limit, for what is to meet one."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["find_cgroups", "limited_cgroup"]

_ROOT = "/sys/fs/cgroup"


def find_cgroups(pattern: str) -> list[Path]:
    """The cgroups, and their files, whose path is so; others come and go while they are looked for."""
    found = (Path(folder, name) for folder, folders, files in os.walk(_ROOT) for name in (*folders, *files))
    return [path for path in found if path.match(pattern)]


@contextlib.contextmanager
def limited_cgroup(controller: str, limit: int, *, v1: str, v2: str) -> Iterator[tuple[str, ...]]:
    """A command that moves itself into a cgroup with a limit and is then replaced by the one which follows it.

    The limit's file is called otherwise in each hierarchy.  What is in the cgroup at the end is killed.
    """
    for root, name in ((f"{_ROOT}/{controller}", v1), (_ROOT, v2)):
        group = Path(root) / f"rocklet-test-{secrets.token_hex(4)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(str(limit))
        except OSError:
            group.rmdir()
            continue
        try:
            yield ("sh", "-c", 'echo $$ >"$0"; exec "$@"', str(group / "cgroup.procs"))
        finally:
            _empty(group)
            group.rmdir()
        return
    pytest.skip(f"no {controller} cgroup can be made here")


def _empty(group: Path) -> None:
    while pids := (group / "cgroup.procs").read_text().split():
        for pid in map(int, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
