"""One program, without a session: its stdout, its stderr and its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time

from rock.wire.messages import CommandOutput, ExecuteRequest
from rocklet.actions import Call
from rocklet.descriptors import Inlet, Outlet
from rocklet.memory import KILLED, OOM_REASON
from rocklet.processes import Children
from rocklet.sessions.output import Output
from rocklet.sessions.shell import find_flavor
from rocklet.surroundings import Surroundings

__all__ = ["execute"]

_LINGER = 0.1  # seconds for what outlives the program (`tee >(...)`) to close its output; a daemon never does


async def execute(
    request: ExecuteRequest, call: Call, children: Children, surroundings: Surroundings
) -> CommandOutput:
    """Run a program to its end, its timeout or its cancellation; the latter two kill its process group.

    A text is run by the shell that sessions have.  A background process that keeps the output open delays nothing,
    and lives.
    Raises CommandFailed: no such program, no such directory.  InvalidRequest: a text, and the image has no shell.
    """
    began, ooms = time.monotonic(), children.ooms.count()
    program = _Program(request, children, surroundings)
    try:
        done, _ = await asyncio.wait(
            (program.child.exited, call.canceled), timeout=request.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        was_killed = program.child.exited not in done
        if was_killed:
            program.child.signal_group(signal.SIGKILL)
        exit_code = await program.child.exited
        await program.collect()
    except BaseException:
        program.child.signal_group(signal.SIGKILL)
        raise
    finally:
        program.let_go()
    reason = ""
    if was_killed:
        reason = "canceled" if done else f"timed out after {request.timeout:g} s"
        reason += "; its process group was killed"
    elif exit_code == KILLED and children.ooms.count() > ooms:
        reason = OOM_REASON
    return CommandOutput(
        stdout=await program.stdout.text(),
        stderr=await program.stderr.text(),
        exit_code=None if was_killed else exit_code,
        timed_out=was_killed and not done,
        canceled=was_killed and bool(done),
        failure_reason=reason,
        cut_bytes=program.stdout.cut_bytes + program.stderr.cut_bytes,
        duration=time.monotonic() - began,
    )


class _Program:
    """A program and its three pipes."""

    def __init__(self, request: ExecuteRequest, children: Children, surroundings: Surroundings) -> None:
        self.stdout, self.stderr = Output(request.max_output_bytes), Output(request.max_output_bytes)
        self._is_over = False
        argv = request.command
        if isinstance(argv, str):
            argv = [find_flavor(surroundings.env.get("PATH", os.defpath))[1], "-c", argv]
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        theirs, ours = (stdin[0], stdout[1], stderr[1]), (stdin[1], stdout[0], stderr[0])
        try:
            errors = theirs[1] if request.merge_streams else theirs[2]
            streams = (theirs[0] if request.stdin else subprocess.DEVNULL, theirs[1], errors)
            self.child = children.spawn(argv, surroundings, streams=streams)
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._stdin = Outlet(ours[0])
        self._stdin.send(request.stdin.encode("utf-8", "surrogatepass"))
        self._stdin.close_when_sent()
        self._inlets = (Inlet(ours[1], self._on_stdout), Inlet(ours[2], self._on_stderr))

    async def collect(self) -> None:
        """Take what the program has printed, once it has ended."""
        for inlet in self._inlets:
            inlet.drain()
        unended = [inlet.ended for inlet in self._inlets if not inlet.ended.done()]
        if unended:
            await asyncio.wait(unended, timeout=_LINGER)

    def let_go(self) -> None:
        """Keep no more of what comes.  It is still read, or what lives on would die of writing it."""
        self._is_over = True
        self._stdin.close()

    def _on_stdout(self, data: bytes) -> None:
        if not self._is_over:
            self.stdout.feed(data)

    def _on_stderr(self, data: bytes) -> None:
        if not self._is_over:
            self.stderr.feed(data)
