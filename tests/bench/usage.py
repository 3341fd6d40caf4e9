"""What processes of this machine use, by /proc."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory", "read_children_cpu", "read_cpu", "read_memory"]

_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Of one process, in bytes."""

    rss: int
    """What it has in memory."""
    uss: int
    """The part that nobody shares: what its end would give back."""


def read_memory(pid: int) -> Memory:
    """What a process holds now."""
    rollup = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text()))
    sizes = {name: int(size) * 1024 for name, size in rollup.items()}
    return Memory(rss=sizes["Rss"], uss=sizes["Private_Clean"] + sizes["Private_Dirty"])


def read_cpu(*pids: int) -> float:
    """Seconds of CPU that these processes have used, with all that descend from them, living or dead."""
    return sum(_own_cpu(each) for pid in pids for each in _family(pid))


def read_children_cpu() -> float:
    """Seconds of CPU of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _own_cpu(pid: int) -> float:
    """A process's, and that of its children which it has waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # its parent has waited for it meanwhile, and counts it
        return 0.0
    # Behind the name, which may hold blanks: fields 3 and on; 14 to 17 are its and its children's time.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) * _TICK


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))
