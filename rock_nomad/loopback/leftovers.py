"""What a cluster may leave when its agents are killed: processes, containers, mounts, control groups and files.

A Nomad client that is killed leaves its tasks running and their secrets mounted.  Everything is known by the cluster's
folder: agents name it on their command line, what they start inherits it as TMPDIR, containers mount from it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

__all__ = ["sweep"]

_DIE_TIMEOUT = 10.0  # seconds for what was killed to be gone
_DOCKER_TIMEOUT = 60.0  # seconds for its engine to remove containers
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_NOMADS_LABEL = "com.hashicorp.nomad.alloc_id"


def sweep(folder: Path) -> None:
    """End and remove everything that belongs to a cluster's folder, and the folder; nothing if there is none."""
    if not folder.exists():
        return
    while doomed := _processes_of(folder):
        _kill(doomed)
    _remove_containers(folder)
    _unmount_below(folder)
    _remove_control_groups({path.name for path in folder.glob("*/alloc/*")})
    shutil.rmtree(folder, ignore_errors=True)


def _processes_of(folder: Path) -> set[int]:
    """The processes that name the folder, and all that descend from them."""
    marker = f"{folder}/".encode()
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            process = int(entry.name)
            # The name of the program, in parentheses, may hold anything.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z":
                continue
            parents[process] = int(parent)
            if marker in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                found.add(process)
    found.discard(os.getpid())
    while below := {process for process, parent in parents.items() if parent in found} - found:
        found |= below
    return found


def _kill(processes: Iterable[int]) -> None:
    handles = []
    for process in processes:
        with contextlib.suppress(OSError):
            handles.append(os.pidfd_open(process))
    try:
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        for handle in handles:
            select.select([handle], [], [], _DIE_TIMEOUT)
    finally:
        for handle in handles:
            os.close(handle)


def _remove_containers(folder: Path) -> None:
    """Containers of Nomad's whose allocation is below the folder."""
    docker = shutil.which("docker")
    if docker is None:
        return
    listed = _ask(docker, "ps", "--all", "--quiet", "--filter", f"label={_NOMADS_LABEL}").split()
    mounted = "{{.ID}} {{range .Mounts}}{{.Source}} {{end}}"
    for row in _ask(docker, "inspect", "--format", mounted, *listed).splitlines() if listed else []:
        container, *sources = row.split()
        if any(source.startswith(f"{folder}/") for source in sources):
            _ask(docker, "rm", "--force", "--volumes", container)


def _ask(*command: str) -> str:
    """What a command prints; nothing if it fails: there may be an executable, and no engine."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DOCKER_TIMEOUT).stdout
    return ""


def _unmount_below(folder: Path) -> None:
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        target = line.split()[1]
        if target.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)


def _remove_control_groups(alloc_ids: Collection[str]) -> None:
    """The groups of allocations' tasks, one in each hierarchy of cgroups v1."""
    for group, _, _ in os.walk(_CONTROL_GROUPS, topdown=False):
        if os.path.basename(group).partition(".")[0] in alloc_ids:
            with contextlib.suppress(OSError):  # it has a process still
                os.rmdir(group)
