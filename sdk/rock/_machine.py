"""What ROCK's client tells its callers of the machine that it runs on: commands, ports, names, the time."""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
import socket
import subprocess
import zoneinfo
from collections.abc import Sequence

from rock._config import rock_variable
from rock._nohup import PID_PREFIX

__all__ = [
    "extract_nohup_pid",
    "find_free_port",
    "get_host_name",
    "get_instance_id",
    "get_iso8601_timestamp",
    "get_pod_ip",
    "release_port",
    "run_command_with_output",
    "run_shell_command",
]

_DEFAULT_ZONE = "Asia/Shanghai"
"""ROCK's."""

_taken: set[int] = set()
"""Ports that this process has found and not released: two callers at once must not get the same."""

log = logging.getLogger(__name__)


def run_command_with_output(cmd: str | Sequence[str], wait: bool = False) -> tuple[int, str, str] | None:
    """Run a program here; exit code, stdout and stderr, if it is waited for.  -1 and why, if it cannot be begun."""
    try:
        process = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        log.warning("%s cannot be run: %s", cmd, error)
        return -1, "", str(error)
    if not wait:
        return None
    stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


async def run_shell_command(command: str) -> tuple[int, str, str]:
    """Run shell text here: exit code, and stdout and stderr without outer blanks."""
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None  # it has ended
    return process.returncode, stdout.decode().strip(), stderr.decode().strip()


def extract_nohup_pid(nohup_output: str) -> int | None:
    """The process id that a command in the background was announced with; None if it was not."""
    found = re.search(rf"{PID_PREFIX}([0-9]+)", nohup_output)
    return int(found[1]) if found else None


async def find_free_port(max_attempts: int = 10, sleep_between_attempts: float = 0.1) -> int:
    """A port of this machine that nobody listens on, and nobody else in this process has been given.

    Raises RuntimeError: there was none in so many attempts.
    """
    for _ in range(max_attempts):
        with socket.socket() as probe:
            probe.bind(("", 0))
            port: int = probe.getsockname()[1]
        if port not in _taken:
            _taken.add(port)
            return port
        await asyncio.sleep(sleep_between_attempts)
    raise RuntimeError(f"no free port was found in {max_attempts} attempts; release some")


def release_port(port: int) -> None:
    """Let a port be given to others."""
    _taken.discard(port)


def get_host_name() -> str:
    """This machine's name."""
    return socket.gethostname()


def get_pod_ip() -> str | None:
    """The address of this machine's name; None if it has none."""
    try:
        return socket.gethostbyname(get_host_name())
    except OSError as error:
        log.warning("the name of this machine has no address: %s", error)
        return None


def get_instance_id() -> str:
    """What tells this machine from others: its address, or else its name."""
    return get_pod_ip() or get_host_name()


def get_iso8601_timestamp(timestamp: float | None = None, timezone: str | None = None) -> str:
    """A moment, or now, to the second, in a time zone or ROCK_TIME_ZONE's."""
    zone = zoneinfo.ZoneInfo(timezone or str(rock_variable("ROCK_TIME_ZONE") or _DEFAULT_ZONE))
    moment = datetime.datetime.now(zone) if timestamp is None else datetime.datetime.fromtimestamp(timestamp, zone)
    return moment.isoformat(timespec="seconds")
