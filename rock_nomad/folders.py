"""Folders that are made once: there whole or not at all, however many make them at the same time."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

__all__ = ["make_once"]


def make_once(folder: Path, make: Callable[[Path], None]) -> None:
    """See to it that a folder is there.

    Where it is not, `make` is told where to make it: aside, from where it is moved into place.  One at a time; another
    waits, and finds it done.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        make(partial)
        partial.rename(folder)
