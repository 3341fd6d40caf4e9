"""Packages as the world has them, each in an environment of its own: made once, kept outside of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

__all__ = ["find_packages", "published_python"]

_INSTALL_TIMEOUT = 600.0  # seconds; it takes half a minute


@cache
def find_packages(*requirements: str) -> Path | None:
    """The `site-packages` of an environment that has these (`name==version`); None where they cannot be had."""
    name = "-".join(requirement.replace("==", "-") for requirement in requirements)
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache_home) / "rock-nomad-tests" / f"{name}-py{sys.version_info[0]}.{sys.version_info[1]}"
    if not folder.exists() and not _install(folder, requirements):
        return None
    return next(folder.glob("lib/python*/site-packages"))


def published_python(*requirements: str) -> Path:
    """The python of such an environment; a test that needs it is skipped where it cannot be had."""
    packages = find_packages(*requirements)
    if packages is None:
        pytest.skip(f"no {' and '.join(requirements)}: not cached, and cannot be installed")
    return packages.parents[2] / "bin" / "python"


def _install(folder: Path, requirements: tuple[str, ...]) -> bool:
    """Make the environment; whether that could be done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        subprocess.run([sys.executable, "-m", "venv", str(made)], check=True, timeout=_INSTALL_TIMEOUT)
        pip = [str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements]
        done = subprocess.run(pip, capture_output=True, check=False, timeout=_INSTALL_TIMEOUT)
        if done.returncode == 0 and not folder.exists():  # or another run was faster
            # Its python is found by its own path, so that moving the folder does it no harm.
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder.exists()
