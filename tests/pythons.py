"""The Pythons that this machine has, of those that trainers' images have.

`python -m tests.pythons FOLDER` puts aside the wheels with which the client's tests run on each of them offline.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["CLIENT_TESTS", "VERSIONS", "find_python"]

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
CLIENT_TESTS = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "cloudpickle", "uvloop")
"""What the client's tests need beside the client."""


def find_python(version: str) -> str | None:
    """An interpreter of a version that runs: on PATH, or among those that pyenv has."""
    installed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    for candidate in [shutil.which(f"python{version}"), *map(str, installed)]:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def _put_wheels_aside(folder: str) -> None:
    import tomllib  # not in 3.10, where the client's tests import this module

    project = Path(__file__).parents[1] / "pyproject.toml"
    client = tomllib.loads(project.read_text())["project"]["dependencies"]
    for python in filter(None, map(find_python, VERSIONS)):
        # By that Python itself: which requirements apply depends on it.
        pip = [sys.executable, "-m", "pip", "--python", python]
        subprocess.run([*pip, "download", "--quiet", "--dest", folder, *client, *CLIENT_TESTS], check=True)


if __name__ == "__main__":
    _put_wheels_aside(sys.argv[1])
