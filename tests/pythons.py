"""The Pythons that this machine has, of those that trainers' images have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["VERSIONS", "find_python"]

VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def find_python(version: str) -> str | None:
    """An interpreter of a version that runs: on PATH, or among those that pyenv has."""
    installed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    for candidate in [shutil.which(f"python{version}"), *map(str, installed)]:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None
