"""A command in a session that nobody waits for: what it prints goes to a log, as of any that runs by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rock.wire.commands import StartInSessionRequest
from rock.wire.messages import RunRequest
from rocklet.actions import Call
from rocklet.execute import ProgramEnd
from rocklet.sessions.bash import BashSession, RunListener
from rocklet.sessions.shell import Shell

__all__ = ["StartedInSession"]

_KEPT_OUTPUT = 1024  # bytes, the least that can be: what is printed is in the log
_END_OF_INPUT = b"\x04"  # as a terminal takes it, from the keyboard


class StartedInSession:
    """One command of a session.  `sink` gets what it prints."""

    def __init__(self, session: BashSession, request: StartInSessionRequest, sink: Callable[[bytes], None]) -> None:
        self._session = session
        self._request = RunRequest(
            command=request.command,
            session=request.session,
            timeout=request.timeout,
            silence_timeout=request.silence_timeout,
            max_output_bytes=_KEPT_OUTPUT,
        )
        self._sink = sink
        self._began = time.monotonic()
        self._shell: Shell | None = None

    @property
    def pid(self) -> int:
        """Its shell's process id; 0 unless it runs."""
        return self._shell.pid if self._shell is not None else 0

    @property
    def duration(self) -> float:
        """Seconds since it began, or since it was asked for."""
        return time.monotonic() - self._began

    async def run(self, call: Call) -> ProgramEnd:
        """How it ended.

        Raises what `BashSession.run` raises.
        """
        try:
            ran = await self._session.run(self._request, call, self)
        finally:
            self._shell = None
        return ProgramEnd(
            exit_code=ran.exit_code,
            timed_out=ran.timed_out,
            canceled=ran.canceled,
            failure_reason=ran.failure_reason,
            duration=ran.duration,
        )

    async def send(self, data: bytes, canceled: asyncio.Future[None], *, is_last: bool) -> None:
        """Press keys, and if they are the last those that end the input; nobody feels them before its turn has come."""
        if self._shell is not None:
            self._shell.press(data + (_END_OF_INPUT if is_last else b""))

    def signal(self, number: int) -> None:
        """Send a signal to what it runs in the foreground, if its turn has come."""
        if self._shell is not None:
            self._shell.signal(number)

    def begin(self, shell: Shell) -> None:
        """Its turn has come."""
        self._shell, self._began = shell, time.monotonic()

    def hear(self, data: bytes) -> None:
        """It has printed something."""
        self._sink(data)


_: type[RunListener] = StartedInSession
