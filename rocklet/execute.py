"""One program, without a session: its streams, its limits and its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from rock.wire.errors import InvalidRequest
from rock.wire.messages import CommandOutput, ExecuteRequest
from rocklet.actions import Call
from rocklet.descriptors import Inlet, Outlet
from rocklet.memory import KILLED, OOM_REASON
from rocklet.patience import Patience
from rocklet.processes import Children
from rocklet.sessions.output import Output
from rocklet.sessions.shell import find_flavor
from rocklet.surroundings import Surroundings

__all__ = ["Program", "ProgramEnd", "execute"]

_LINGER = 0.1  # seconds for what outlives the program (`tee >(...)`) to close its output; a daemon never does


class ProgramEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended."""

    exit_code: int | None
    """None when it was killed by us."""
    timed_out: bool
    canceled: bool
    failure_reason: str
    duration: float
    """Seconds."""


async def execute(request: ExecuteRequest, call: Call, children: Children, surroundings: Surroundings) -> CommandOutput:
    """Run a program to its end, one of its time-outs or its cancellation; all but the first kill its process group.

    A background process that keeps the output open delays nothing, and lives.
    Raises what `Program` raises.
    """
    stdout, stderr = Output(request.max_output_bytes), Output(request.max_output_bytes)
    end = await Program(request, children, surroundings, stdout.feed, stderr.feed).run(call)
    return CommandOutput(
        stdout=await stdout.text(),
        stderr=await stderr.text(),
        exit_code=end.exit_code,
        timed_out=end.timed_out,
        canceled=end.canceled,
        failure_reason=end.failure_reason,
        cut_bytes=stdout.cut_bytes + stderr.cut_bytes,
        duration=end.duration,
    )


class Program:
    """A program and its three pipes.  What it prints goes to two sinks until it has ended, and then nowhere.

    A text is run by the shell that sessions have.  With `keep_stdin` its stdin stays open behind the request's.
    Raises CommandFailed: no such program, no such directory.  InvalidRequest: a text, and the image has no shell.
    """

    def __init__(  # noqa: PLR0913 - what it needs, and where its streams lead
        self,
        request: ExecuteRequest,
        children: Children,
        surroundings: Surroundings,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        *,
        keep_stdin: bool = False,
    ) -> None:
        self._ooms = children.ooms
        self._ooms_before = children.ooms.count()
        self._began = time.monotonic()
        self._sinks: Sequence[Callable[[bytes], None]] = (on_stdout, on_stderr)
        self._patience = Patience(request.timeout, request.silence_timeout)
        argv = request.command
        if isinstance(argv, str):
            argv = [find_flavor(surroundings.env.get("PATH", os.defpath))[1], "-c", argv]
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        theirs, ours = (stdin[0], stdout[1], stderr[1]), (stdin[1], stdout[0], stderr[0])
        try:
            errors = theirs[1] if request.merge_streams else theirs[2]
            reads = theirs[0] if request.stdin or keep_stdin else subprocess.DEVNULL
            self._child = children.spawn(argv, surroundings, streams=(reads, theirs[1], errors))
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._stdin = Outlet(ours[0])
        self._stdin.send(request.stdin.encode("utf-8", "surrogatepass"))
        if not keep_stdin:
            self._stdin.close_when_sent()
        self._inlets = (Inlet(ours[1], partial(self._take, 0)), Inlet(ours[2], partial(self._take, 1)))

    @property
    def duration(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    async def run(self, call: Call) -> ProgramEnd:
        """How it ended: by itself, or killed with its process group at one of its limits or when it was called off."""
        try:
            limit = await self._patience.wait(self._child.exited, call.canceled)
            was_killed = not self._child.exited.done()
            if was_killed:
                self._child.signal_group(signal.SIGKILL)
            exit_code = await self._child.exited
            await self._collect()
        except BaseException:
            self._child.signal_group(signal.SIGKILL)
            raise
        finally:
            # What comes from now on is still read, or what lives on would die of writing it.
            self._sinks = ()
            self._stdin.close()
        return ProgramEnd(
            exit_code=None if was_killed else exit_code,
            timed_out=was_killed and bool(limit),
            canceled=was_killed and not limit,
            failure_reason=self._explain(exit_code, limit or "canceled" if was_killed else ""),
            duration=self.duration,
        )

    async def send(self, data: bytes, canceled: asyncio.Future[None], *, is_last: bool) -> None:
        """Write to its stdin, and wait until that was taken, or never will be.

        Raises InvalidRequest: it is closed.
        """
        if self._stdin.is_closed:
            raise InvalidRequest(
                "the stdin of the command is closed; start it with keep_stdin, and send is_last last",
                details={"field": "data", "value": "", "expected": "a command whose stdin is open"},
            )
        self._stdin.send(data)
        if is_last:
            self._stdin.close_when_sent()
        await self._stdin.wait_sent(canceled)

    def signal(self, number: int) -> None:
        """Send a signal to its process group, as long as it has not ended."""
        self._child.signal_group(number)

    def _explain(self, exit_code: int, limit: str) -> str:
        if limit:
            return f"{limit}; its process group was killed"
        was_oom = exit_code == KILLED and self._ooms.count() > self._ooms_before
        return OOM_REASON if was_oom else ""

    async def _collect(self) -> None:
        """Take what the program has printed, once it has ended."""
        for inlet in self._inlets:
            inlet.drain()
        unended = [inlet.ended for inlet in self._inlets if not inlet.ended.done()]
        if unended:
            await asyncio.wait(unended, timeout=_LINGER)

    def _take(self, stream: int, data: bytes) -> None:
        if self._sinks:
            self._patience.hear()
            self._sinks[stream](data)
