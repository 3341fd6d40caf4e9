"""`rock-nomad` as a user starts it: real processes, with credentials of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster import missing_parts

__all__ = ["DEVS", "ROOT", "SMALL", "Dev", "clean_environment", "rock_nomad", "start_dev"]

ROOT = Path(__file__).parents[1]
SMALL = ("--image", "python:3.11", "--memory", "256m", "--cpus", "0.05", "--disk", "32m")
"""What `submit` is told for a sandbox beside many others."""
_BIN = Path(sys.executable).parent
_LACKED = missing_parts("real")

DEVS = [
    pytest.param((), id="embedded"),
    pytest.param(("--real",), id="real", marks=pytest.mark.skipif(_LACKED is not None, reason=_LACKED or "")),
]
"""Every kind of cluster that `dev` runs, as its options."""


@dataclass(frozen=True)
class Dev:
    """A running `rock-nomad dev`."""

    process: subprocess.Popen[str]
    url: str
    environment: dict[str, str] = field(repr=False)
    said: str
    """What it is, in its own words: the rest of the line that tells its address."""

    def rock_nomad(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """`rock-nomad` with these arguments, against this cluster."""
        return rock_nomad(*arguments, environment=self.environment, timeout=timeout)


def clean_environment(folder: Path) -> dict[str, str]:
    """This process's environment, without a cluster of its user's, and with a credentials file in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROCK_", "NOMAD_", "CONSUL_"))}
    path = f"{_BIN}:{kept['PATH']}"
    return {**kept, "PATH": path, "ROCK_CREDENTIALS_FILE": str(folder / "credentials.json"), "COLUMNS": "200"}


def rock_nomad(*arguments: str, environment: dict[str, str], timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """`rock-nomad` with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "rock_nomad", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextlib.contextmanager
def start_dev(folder: Path, *arguments: str) -> Iterator[Dev]:
    """`rock-nomad dev` on a free port, for as long as the block lasts."""
    environment = clean_environment(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "rock_nomad", "dev", "--port", "0", *arguments],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url, said = _announcement(process)
        yield Dev(process, url, environment, said)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _announcement(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"(http://\S+) (.*\n)", line):
            return found[1], found[2]
    raise AssertionError(f"rock-nomad dev ended with {process.wait()}: {''.join(said)}")
