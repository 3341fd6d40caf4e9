"""What runs on this machine, by /proc alone: a bare machine has no pgrep."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["is_running", "pids_of"]


def pids_of(command: str) -> list[int]:
    """The processes whose command line is this very text, arguments joined by blanks."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if b" ".join(words).decode(errors="replace") == command:
                found.append(int(process.name))
    return found


def is_running(command: str) -> bool:
    """Whether any process has this very command line."""
    return bool(pids_of(command))
