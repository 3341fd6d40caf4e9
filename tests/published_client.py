"""ROCK's published client, in a virtual environment of its own: made once, kept outside of this checkout."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE
from functools import cache
from pathlib import Path

import pytest

from tests.gateways import Gateway

__all__ = ["SAMPLES", "VERSION", "rl_rock_python", "run_sample"]

VERSION = "1.11.0"
SAMPLES = Path(__file__).parent / "samples"

_INSTALL_TIMEOUT = 600.0  # seconds; it takes half a minute
_RUN_TIMEOUT = 120.0  # seconds


@cache
def rl_rock_python() -> Path:
    """The environment's python.  Skips the test if the client is neither here nor to be had."""
    name = f"rl-rock-{VERSION}-py{sys.version_info[0]}.{sys.version_info[1]}"
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache_home) / "rock-nomad-tests" / name
    if not folder.exists():
        _install(folder)
    return folder / "bin" / "python"


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    subprocess.run([sys.executable, "-m", "venv", str(made)], check=True, timeout=_INSTALL_TIMEOUT)
    pip = [str(made / "bin" / "python"), "-m", "pip", "install", "--quiet", f"rl-rock=={VERSION}"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=_INSTALL_TIMEOUT)
    if done.returncode != 0:
        pytest.skip(f"rl-rock {VERSION} is not cached and cannot be installed: {done.stderr.strip()[-300:]}")
    try:
        # Its python is found by its own path, so that moving the folder does it no harm.
        made.rename(folder)
    except OSError:  # another run was faster
        shutil.rmtree(made)


async def run_sample(
    name: str, gateway: Gateway, *arguments: str, folder: Path, python: Path | None = None
) -> tuple[int, str]:
    """Run a program of `tests/samples` as a user would, and what it printed.

    Only `ROCK_BASE_URL` says where the gateway is, and the key stands in it.
    """
    environment = {
        "ROCK_BASE_URL": gateway.url.replace("://", f"://x:{gateway.key}@"),
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
    }
    process = await asyncio.create_subprocess_exec(
        *(str(python or rl_rock_python()), str(SAMPLES / name), *arguments),
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_RUN_TIMEOUT):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()
