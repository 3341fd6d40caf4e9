"""What runs on this machine, by /proc alone: a bare machine has no pgrep."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["command_of", "is_running", "pids_naming", "pids_of"]


def pids_of(command: str) -> list[int]:
    """The processes whose command line is this very text, arguments joined by blanks."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if command_of(pid) == command]


def command_of(pid: int) -> str:
    """A process's command line, arguments joined by blanks; empty: it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace")


def pids_naming(text: str) -> set[int]:
    """The processes, this one apart, with a text in their command line or environment."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if text.encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                found.add(int(process.name))
    return found - {os.getpid()}


def is_running(command: str) -> bool:
    """Whether any process has this very command line."""
    return bool(pids_of(command))
