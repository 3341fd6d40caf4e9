"""Whether the kernel killed something here for want of memory."""

from __future__ import annotations

import contextlib
import os
import re

from rocklet.cgroups import Cgroup

__all__ = ["KILLED", "OOM_REASON", "OomCounter"]

OOM_REASON = "oom: the kernel killed it for want of memory; use less, or ask for more memory"
KILLED = 128 + 9
"""The exit code of what SIGKILL ended: the kernel's, if its count has risen."""

_COUNT = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_SIZE = 4096  # bytes; the files have some hundred


class OomCounter:
    """The kernel's count of processes killed in the rocklet's own cgroup; always 0 where there is none to read."""

    def __init__(self) -> None:
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = _open_counter()

    def count(self) -> int:
        """How many there were so far."""
        if self._fd is None:
            return 0
        try:
            found = _COUNT.search(os.pread(self._fd, _SIZE, 0))
        except OSError:  # the cgroup was removed under us
            return 0
        return int(found[1]) if found else 0

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _open_counter() -> int | None:
    for place in Cgroup().places("memory", v1="memory.oom_control", v2="memory.events"):
        with contextlib.suppress(OSError):
            return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    return None
