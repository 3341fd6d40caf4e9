"""Bash sessions: commands one after the other in one shell, and whatever may befall them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec

from rock.wire.errors import CommandFailed, InvalidRequest, SessionBusy, SessionNotFound
from rock.wire.messages import InterruptRequest, Observation, RunRequest, Session
from rocklet.actions import Call
from rocklet.memory import KILLED, OOM_REASON, OomCounter
from rocklet.patience import Patience
from rocklet.processes import Children
from rocklet.sessions.output import Expectation, Output
from rocklet.sessions.shell import Shell
from rocklet.sessions.turns import Turns
from rocklet.surroundings import Surroundings
from rocklet.waiting import wait_first

__all__ = ["BashSession", "RunListener", "ShellStart"]

log = logging.getLogger(__name__)

_STOP_GRACE = 0.2  # seconds that Ctrl-C may take when a command is ended
_CLOSE_GRACE = 0.3  # seconds for a shell to pass a hang-up on to its jobs
_STARTUP_OUTPUT = 2**20  # bytes kept of what start-up files print


class ShellStart(msgspec.Struct, frozen=True, kw_only=True):
    """How a session's shell is started, the first time and each time it has to be replaced."""

    surroundings: Surroundings
    sources: list[str] = []
    timeout: float
    """Seconds for the shell and its start-up files."""


class _End(msgspec.Struct, frozen=True, kw_only=True):
    """Why we ended a command that would have gone on."""

    reason: str
    grace: float = _STOP_GRACE
    timed_out: bool = False
    canceled: bool = False
    tells_exit_code: bool = False


class RunListener(Protocol):
    """Whoever wants to know of a command while it runs."""

    def begin(self, shell: Shell) -> None:
        """Its turn has come, in this shell."""
        ...

    def hear(self, data: bytes) -> None:
        """It has printed something."""
        ...


class BashSession:
    """A bash on a PTY that runs one command after the other, and is replaced when it ends.

    `on_idle` is called when nothing was run for `idle_timeout` seconds.
    """

    def __init__(
        self,
        name: str,
        start: ShellStart,
        children: Children,
        *,
        idle_timeout: float | None = None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._start = start
        self._children = children
        self._idle_timeout = idle_timeout
        self._on_idle = on_idle
        self._idle_timer: asyncio.TimerHandle | None = None
        self.idle_since = 0.0
        """When its last command ended, by the loop's clock; 0 while one runs, and where it never closes when idle."""
        self._turns = Turns()
        self._shell: Shell | None = None
        self._startup_output = ""
        self._interrupted: asyncio.Future[float] | None = None
        self._is_open = False
        self._is_closed = False

    async def open(self, call: Call) -> Session:
        """Start the shell; who comes meanwhile waits.

        Raises CommandFailed: the shell did not start, or not in time.  InvalidRequest: the image has none.
        """
        async with self._turn(call) as is_mine:
            if is_mine:
                try:
                    await self._start_shell()
                except BaseException:
                    self._is_closed = True
                    raise
                self._is_open = True
            return self.describe()

    async def wait_open(self, call: Call) -> Session:
        """The session, once whoever opens it is done.

        Raises SessionNotFound: it could not be opened.
        """
        async with self._turn(call):
            return msgspec.structs.replace(self.describe(), existed=True)

    @property
    def is_open(self) -> bool:
        """Whether its first shell is ready and it was not closed."""
        return self._is_open and not self._is_closed

    @property
    def surroundings(self) -> Surroundings:
        """What its shell was started in."""
        return self._start.surroundings

    def describe(self) -> Session:
        """The session as callers see it."""
        shell = self._shell
        if shell is None:
            raise self._gone()
        return Session(
            session=self.name,
            shell=shell.flavor.name,
            pid=shell.pid,
            output=self._startup_output,
            warnings=shell.flavor.warnings,
        )

    async def run(self, request: RunRequest, call: Call, listener: RunListener | None = None) -> Observation:
        """Run a command when its turn has come, or type into the program in the foreground; a listener hears of it.

        Raises SessionBusy: a program that an interactive call has started is still there.
        """
        async with self._turn(call) as is_mine:
            if not is_mine:
                reason = "canceled before it started; nothing was run"
                return Observation(output="", canceled=True, failure_reason=reason)
            return await self._run(request, call, listener)

    async def interrupt(self, request: InterruptRequest, call: Call) -> Observation:
        """Press Ctrl-C, and harder if that does not help; the output is told to the call that waits for it."""
        if self._interrupted is not None:
            if not self._interrupted.done():
                self._interrupted.set_result(request.grace)
            async with self._turn(call):
                return Observation(output="", failure_reason="interrupted; the call that ran it has its output")
        async with self._turn(call) as is_mine:
            shell = self._shell
            if not is_mine or shell is None or not shell.is_busy:
                return Observation(output="", failure_reason="nothing was running")
            end = _End(reason="interrupted", grace=request.grace, tells_exit_code=True)
            return await self._end(shell, end, _Observer(self._children.ooms))

    async def close(self) -> None:
        """End the shell and its foreground command.  Jobs that ignore SIGHUP live on."""
        self._is_closed = True
        self._stop_idle_timer()
        if self._shell is not None:
            await self._shell.close(_CLOSE_GRACE)

    # --------------------------------------------------------------------------------------------------- turns

    @contextlib.asynccontextmanager
    async def _turn(self, call: Call) -> AsyncIterator[bool]:
        """Whether the caller's turn has come; False if the call was canceled first."""
        is_mine = await self._turns.take(call.canceled)
        if not is_mine:
            yield False
            return
        self._stop_idle_timer()
        try:
            if self._is_closed:
                raise self._gone()
            yield True
        finally:
            self._start_idle_timer()
            self._turns.give()

    def _start_idle_timer(self) -> None:
        if self._idle_timeout is not None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self.idle_since = loop.time()
            self._idle_timer = loop.call_later(self._idle_timeout, self._on_idle)

    def _stop_idle_timer(self) -> None:
        self.idle_since = 0.0
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _gone(self) -> SessionNotFound:
        return SessionNotFound(f"session {self.name!r} was closed; create it again", details={"session": self.name})

    # ------------------------------------------------------------------------------------------------- commands

    async def _run(self, request: RunRequest, call: Call, listener: RunListener | None) -> Observation:
        observer = _Observer(self._children.ooms)
        if self._shell is None or self._shell.ended.done():
            await self._replace_shell()
            observer.note_restart("its shell had ended since the last command")
        shell = self._shell
        assert shell is not None
        patience = self._begin(shell, request, listener)
        self._interrupted = asyncio.get_running_loop().create_future()
        try:
            end = await self._wait(shell, patience, call)
        finally:
            self._interrupted = None
        if self._is_closed:  # the command ends with the session, even if its mark is faster than the shell's end
            await wait_first(shell.ended)
            return await self._bury(shell, end, observer)
        if end is not None:
            return await self._end(shell, end, observer)
        if shell.finished.done():
            return await self._finish(shell, None, observer)
        if shell.ended.done():
            return await self._bury(shell, None, observer)
        output, seen = shell.take_expected()
        return await observer.observe(output, expect_string=seen)

    def _begin(self, shell: Shell, request: RunRequest, listener: RunListener | None) -> Patience:
        """Begin a command, or type into the program in the foreground; how long that may last."""
        expectation = Expectation(request.expect, are_patterns=request.expect_patterns) if request.expect else None
        patience = Patience(request.timeout, request.silence_timeout)

        def hear(data: bytes) -> None:
            patience.hear()
            if listener is not None:
                listener.hear(data)

        output = Output(request.max_output_bytes, hear)
        if not shell.is_busy:
            shell.begin(request.command, output, expectation=expectation)
        elif request.interactive or request.interactive_quit:
            shell.type(request.command, output, expectation=expectation)
        else:
            raise SessionBusy(
                f"a program is in the foreground of session {self.name!r}; talk to it with interactive, or interrupt it"
            )
        if listener is not None:
            listener.begin(shell)
        return patience

    async def _wait(self, shell: Shell, patience: Patience, call: Call) -> _End | None:
        """Wait for whatever comes first; the reason if the command is to be ended."""
        assert self._interrupted is not None
        limit = await patience.wait(shell.finished, shell.ended, shell.expected, call.canceled, self._interrupted)
        if limit:
            return _End(reason=f"{limit}; its process group was killed", timed_out=True)
        if shell.finished.done() or shell.ended.done() or shell.expected.done():
            return None
        if call.canceled.done():
            return _End(reason="canceled; its process group was ended", canceled=True)
        return _End(reason="interrupted", grace=self._interrupted.result(), tells_exit_code=True)

    async def _end(self, shell: Shell, end: _End, observer: _Observer) -> Observation:
        await shell.stop(end.grace)
        return await (self._bury if shell.ended.done() else self._finish)(shell, end, observer)

    async def _finish(self, shell: Shell, end: _End | None, observer: _Observer) -> Observation:
        """The observation of a command that is over."""
        is_settled = await shell.settle()
        exit_code = shell.finished.result()
        output = shell.take_output()
        if not is_settled and not self._is_closed:
            await shell.close(0.0)
            await self._replace_shell()
            observer.note_restart("its terminal was beyond use")
        return await observer.observe(output, exit_code=exit_code, end=end, expect_string=shell.seen)

    async def _bury(self, shell: Shell, end: _End | None, observer: _Observer) -> Observation:
        """The observation of a command that took the shell with it."""
        exit_code = shell.ended.result()
        shell.release()
        output = shell.take_output()
        if self._is_closed:
            closed = _End(reason="the session was closed", canceled=True)
            return await observer.observe(output, end=end or closed, expect_string=shell.seen)
        await self._replace_shell()
        observer.note_restart(f"its shell ended with exit code {exit_code}")
        return await observer.observe(output, exit_code=exit_code, end=end, expect_string=shell.seen)

    # ---------------------------------------------------------------------------------------------------- shells

    async def _replace_shell(self) -> None:
        try:
            await self._start_shell()
        except (CommandFailed, InvalidRequest) as error:  # the next command tries again
            log.warning("session %s has no shell: %s", self.name, error)

    async def _start_shell(self) -> None:
        if self._shell is not None:
            self._shell.release()
        start = self._start
        shell = self._shell = Shell(self._children, start.surroundings)
        try:
            async with asyncio.timeout(start.timeout):
                self._startup_output = await self._prepare(shell)
        except TimeoutError:
            await shell.close(0.0)
            raise CommandFailed(
                f"the shell and its start-up files took longer than {start.timeout:g} s; raise startup_timeout"
            ) from None
        except BaseException:
            await shell.close(0.0)
            raise

    async def _prepare(self, shell: Shell) -> str:
        """Bring a new shell to where its first command can run; what its start-up files printed."""
        await self._run_quietly(shell, shell.flavor.preparation)
        shell.take_output()  # the prompt that it came with
        printed = Output(_STARTUP_OUTPUT)
        for source in self._start.sources:
            await self._run_quietly(shell, f". {shlex.quote(source)}")
            shell.take_output().pour_into(printed)
        return await printed.text()

    async def _run_quietly(self, shell: Shell, command: str) -> None:
        shell.begin(command, Output(_STARTUP_OUTPUT))
        await wait_first(shell.finished, shell.ended)
        if shell.ended.done():
            shell.release()
            printed = await shell.take_output().text()
            raise CommandFailed(f"the shell ended while it started: {printed[-2000:]}")
        await shell.settle()


class _Observer:
    """Takes down what happened to one command."""

    def __init__(self, ooms: OomCounter) -> None:
        self._began = time.monotonic()
        self._ooms = ooms
        self._ooms_before = ooms.count()
        self._restart = ""

    def note_restart(self, why: str) -> None:
        """The shell was replaced."""
        self._restart = f"{why}; a new one answers from now on, without its variables, functions and directory"

    async def observe(
        self, output: Output, *, exit_code: int | None = None, end: _End | None = None, expect_string: str = ""
    ) -> Observation:
        """What the caller gets."""
        reasons = [end.reason] if end is not None else []
        if end is None and exit_code == KILLED and self._ooms.count() > self._ooms_before:
            reasons.append(OOM_REASON)
        if self._restart:
            reasons.append(self._restart)
        return Observation(
            output=await output.text(),
            exit_code=exit_code if end is None or end.tells_exit_code else None,
            timed_out=end is not None and end.timed_out,
            canceled=end is not None and end.canceled,
            failure_reason="; ".join(reasons),
            expect_string=expect_string,
            cut_bytes=output.cut_bytes,
            shell_restarted=bool(self._restart),
            duration=time.monotonic() - self._began,
        )
