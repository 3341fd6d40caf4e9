"""The machine's own `nomad` and `consul`: where they are, and whether they will do."""

from __future__ import annotations

import os
import re
import subprocess
from typing import NamedTuple

from rock.wire.errors import BadRequestRockError
from rock_nomad.config import find_executable

__all__ = ["Executable", "find_executables"]

OLDEST = {"nomad": (2, 0, 3), "consul": (1, 8, 0)}
"""Nomad bounds a batch job's life (`max_run_duration`) since 2.0.3; Consul's token API is what it is since 1.8."""

_SAY_VERSION_TIMEOUT = 30.0  # seconds; a loaded machine


class Executable(NamedTuple):
    """A program, and the version that it says it is."""

    path: str
    version: str


def find_executables() -> dict[str, Executable]:
    """`nomad` and `consul`, by name.

    Raises BadRequestRockError: one is missing or too old, or this user may not start a Nomad client.
    """
    found = {name: _find(name) for name in OLDEST}
    if os.geteuid() != 0:
        raise BadRequestRockError("no root: a Nomad client mounts its tasks' secrets; start it as root (sudo)")
    return found


def _find(name: str) -> Executable:
    path = find_executable(name)
    if path is None:
        raise BadRequestRockError(
            f"no {name} on PATH; install {_dotted(OLDEST[name])} or later, or name it by {name.upper()}_BIN"
        )
    try:
        said = subprocess.run(
            [path, "version"], capture_output=True, text=True, check=False, timeout=_SAY_VERSION_TIMEOUT
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadRequestRockError(f"{path} cannot be run: {error}") from error
    version = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    if version is None:
        raise BadRequestRockError(f"{path} does not say which version it is; it must be a {name} executable")
    if tuple(int(part) for part in version.groups()) < OLDEST[name]:
        raise BadRequestRockError(f"{path} is {name} {version[0][1:]}; install {_dotted(OLDEST[name])} or later")
    return Executable(path, version[0][1:])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
