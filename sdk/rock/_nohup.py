"""Commands in the background, ROCK's `nohup` mode: started in a session, waited for at the rocklet, read from a file.

A command is the child of a subshell that ends at once, so that the rocklet adopts it and learns its true exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shlex
import signal
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rock import _files
from rock._requests import BashAction, Command
from rock._responses import BashObservation
from rock.errors import (
    ClusterUnavailable,
    CommandFailed,
    CommandTimeout,
    FileAccess,
    FileNotFound,
    GatewayUnreachable,
    InvalidParameterRockException,
    InvalidRequest,
    LimitReached,
    NonZeroExitCode,
    RockException,
    SandboxUnreachable,
    SessionBusy,
    SessionNotFound,
)
from rock.wire import messages as m
from rock.wire import operations as ops

if TYPE_CHECKING:
    from rock._connection import Connection
    from rock._sandbox import Sandbox

__all__ = [
    "PID_PREFIX",
    "PID_SUFFIX",
    "Job",
    "extract_pid",
    "read_output",
    "render_detached",
    "start_process",
    "wait_for_process",
]

log = logging.getLogger(__name__)

PID_PREFIX, PID_SUFFIX = "PIDSTART", "PIDEND"
"""ROCK's marks around a process id."""

_START_TIMEOUT = 30.0  # seconds for a shell to start a process; ROCK's
_HOLD = 60.0  # seconds that a rocklet may hold one answer
_PAUSE = 0.5  # seconds before a rocklet that could not be reached is asked again
_UNREACHED = (ClusterUnavailable, GatewayUnreachable, SandboxUnreachable)
_OWN_DOING = (
    CommandFailed, CommandTimeout, FileAccess, FileNotFound, InvalidParameterRockException, InvalidRequest,
    LimitReached, NonZeroExitCode, SessionBusy, SessionNotFound,
)  # fmt: skip
"""Errors that nohup mode answers as an observation, as ROCK does.  A sandbox that is lost is none: that is raised."""


# The outer subshell ends at once.  A command that ended before it would be reaped by it, and its exit code lost: so the
# inner one looks, for less than a millisecond, until it has another parent.  Joined by `&&`, it becomes the command
# itself where that is a single program, so that the id is the program's own.
_START = f"""\
( trap '' HUP; IFS=' ' read -r rock_shell _ < /proc/self/stat
( while IFS=' ' read -r _ _ _ rock_parent _ < /proc/self/stat; do
case $rock_parent in "$rock_shell") ;; *) break ;; esac
done &&
{{cmd}}
) < /dev/null > {{output_file}} 2>&1 &
echo {PID_PREFIX}${{{{!}}}}{PID_SUFFIX} )"""


class Job:
    """One command in nohup mode, from its start to its observation."""

    def __init__(self, sandbox: Sandbox, rocklet: Connection, cmd: str, output_file: str | None) -> None:
        self._sandbox = sandbox
        self._rocklet = rocklet
        self._cmd = cmd
        self._is_temporary = output_file is None
        self._output_file = output_file or f"/tmp/tmp_{time.time_ns()}.out"  # noqa: S108 - in the sandbox; ROCK's

    async def run(
        self, session: str, wait_timeout: float, *, limit_bytes: int | None, ignore_output: bool
    ) -> BashObservation:
        """Run it, and wait for its end.  After `wait_timeout` seconds it goes on, unattended.

        Raises what has befallen the sandbox; whatever is the command's doing is in the observation.
        """
        try:
            await self._make_folder(session)
            pid, refusal = await self._sandbox.start_nohup_process(self._cmd, self._output_file, session)
            if pid is None:
                return refusal or _failed("Failed to submit command, nohup failed to extract PID")
            end, message = await wait_for_process(self._rocklet, pid, wait_timeout)
            if ignore_output:
                output = await render_detached(self._sandbox, self._output_file, end is not None, message)
            else:
                output = await read_output(self._rocklet, self._output_file, limit_bytes)
        except _OWN_DOING as error:
            return _failed(f"Failed to execute nohup command {self._cmd!r}: {error}")
        if end is None:
            return BashObservation(output=output, exit_code=1, failure_reason=message)
        if self._is_temporary and not ignore_output:
            await self._remove_file()
        failure_reason = "" if end.exit_code == 0 else message
        return BashObservation(output=output, exit_code=end.exit_code, failure_reason=failure_reason)

    async def _make_folder(self, session: str) -> None:
        if self._is_temporary:
            return
        path = PurePosixPath(self._output_file)
        if "." not in path.name:
            raise InvalidParameterRockException(
                f"Failed parse output file path: {self._output_file}; its name must have an extension, such as out.log"
            )
        command = f"mkdir -p {shlex.quote(str(path.parent))}"
        await self._sandbox.run_in_session(BashAction(command=command, session=session))

    async def _remove_file(self) -> None:
        with contextlib.suppress(RockException):  # the observation is whole, and that is what was asked for
            await self._sandbox.execute(Command(command=["rm", "-f", self._output_file]))


async def start_process(
    sandbox: Sandbox, cmd: str, output_file: str, session: str
) -> tuple[int | None, BashObservation | None]:
    """Start a command that no hang-up reaches; its process id, or what went wrong."""
    command = _START.format(cmd=cmd, output_file=shlex.quote(output_file))
    action = BashAction(command=command, session=session, timeout=_START_TIMEOUT, check="silent")
    observation = await sandbox.run_in_session(action)
    if observation.exit_code != 0:
        return None, observation
    return extract_pid(observation.output), None


def extract_pid(output: str) -> int | None:
    """The process id that a command has announced between ROCK's marks."""
    found = re.search(rf"{PID_PREFIX}([0-9]+){PID_SUFFIX}", output)
    return int(found[1]) if found else None


async def wait_for_process(rocklet: Connection, pid: int, wait_timeout: float) -> tuple[m.ProcessEnd | None, str]:
    """How a process has ended, or None if it goes on after `wait_timeout` seconds; and a sentence about it.

    A lost connection says nothing about the process: the rocklet is asked again until the time is over.
    """
    began = time.monotonic()
    deadline = began + wait_timeout
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            end = await rocklet.call(ops.WAIT_PROCESS, m.WaitProcessRequest(pid=pid, hold=min(left, _HOLD)))
        except _UNREACHED as error:
            if not left:
                raise
            log.info("process %s: %s", pid, error)
            await asyncio.sleep(min(_PAUSE, left))
            continue
        elapsed = time.monotonic() - began
        if end.has_ended:
            return end, _describe(pid, end, elapsed)
        if time.monotonic() >= deadline:
            return None, f"Process {pid} did not complete within {elapsed:.1f}s (timeout: {wait_timeout}s)"


def _describe(pid: int, end: m.ProcessEnd, elapsed: float) -> str:
    if end.exit_code == 0:
        return f"Process completed successfully in {elapsed:.1f}s"
    if end.exit_code is None:
        return f"Process {pid} has ended after {elapsed:.1f}s; its exit code is not known"
    cause = f" ({signal.Signals(end.exit_code - 128).name})" if end.exit_code - 128 in _SIGNALS else ""
    reason = f": {end.failure_reason}" if end.failure_reason else ""
    return f"Process {pid} ended with exit code {end.exit_code}{cause} after {elapsed:.1f}s{reason}"


_SIGNALS = frozenset(signal.Signals)


async def read_output(rocklet: Connection, path: str, limit_bytes: int | None) -> str:
    """The first bytes of what a command has printed, all of them if there is no limit (None or 0).

    A character that the limit cuts in two is left out, as is white space at both ends, as in ROCK.
    """
    return (await _files.read_head(rocklet, path, limit_bytes or None)).strip()


async def render_detached(sandbox: Sandbox, output_file: str, success: bool, message: str) -> str:
    """What ROCK tells in the place of an output that is to be ignored."""
    lines = [
        "Command executed in nohup mode without streaming the log content.",
        f"Status: {'completed' if success else 'finished with errors'}",
        f"Output file: {output_file}",
    ]
    sized = await sandbox.execute(Command(command=["stat", "-c", "%s", output_file]))
    if sized.exit_code == 0 and sized.stdout.strip().isdigit():
        lines.append(f"File size: {_render_size(int(sized.stdout))}")
    lines.append(
        f"Use Sandbox.read_file(...), download APIs, or run 'cat {output_file}' inside the session "
        "to inspect the result."
    )
    if message:
        lines.append(f"Detail: {message}")
    return "\n".join(lines)


def _render_size(size_bytes: int) -> str:
    if size_bytes < 2**10:
        return f"{size_bytes} bytes"
    if size_bytes < 2**20:
        return f"{size_bytes / 2**10:.2f} KB"
    return f"{size_bytes / 2**20:.2f} MB"


def _failed(why: str) -> BashObservation:
    return BashObservation(output=why, exit_code=1, failure_reason=why)
