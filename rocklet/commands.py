"""Commands that run by themselves: known by an id, followed by whoever asks, and forgotten when they are closed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from rock.wire.codec import encode
from rock.wire.commands import (
    CommandInput,
    CommandList,
    CommandSignal,
    CommandStatus,
    FollowCommandRequest,
    StartCommandRequest,
    StartInSessionRequest,
)
from rock.wire.errors import CommandNotFound, IdInUse, LimitReached, RockException
from rock.wire.frames import FRAMES_TYPE, HEARTBEAT, FrameKind, encode_frame
from rocklet.actions import Call
from rocklet.command_log import CommandLog
from rocklet.execute import Program, ProgramEnd
from rocklet.faults import explain_fault
from rocklet.files import Stream
from rocklet.processes import Children
from rocklet.sessions.bash import BashSession
from rocklet.sessions.started import StartedInSession
from rocklet.surroundings import Surroundings
from rocklet.waiting import wait_first

__all__ = ["CommandFollowing", "Commands"]

_SHOWN = 200  # characters of a command in its status


class Work(Protocol):
    """What a command does, which is a program's or a session's business."""

    @property
    def pid(self) -> int:
        """Of its process; 0 if it has none."""
        ...

    @property
    def duration(self) -> float:
        """Seconds that it runs by now."""
        ...

    async def run(self, call: Call) -> ProgramEnd:
        """How it ended: by itself, at one of its limits, or because the call was canceled."""
        ...

    async def send(self, data: bytes, canceled: asyncio.Future[None], *, is_last: bool) -> None:
        """Write to its stdin; returns when that was taken, or never will be."""
        ...

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens once it has ended."""
        ...


class Commands:
    """The commands of one sandbox.  `tasks` owns those that run.

    At most `limit` are known and their logs together take at most `log_bytes`: beyond that the oldest that have ended
    and that nobody follows are forgotten.  One that is not in the background is killed `grace` seconds after the last
    one who attended to it has gone.
    """

    def __init__(
        self, tasks: asyncio.TaskGroup, children: Children, *, limit: int, log_bytes: int, grace: float
    ) -> None:
        self._tasks = tasks
        self._children = children
        self._limit = limit
        self._log_bytes_left = log_bytes
        self._grace = grace
        self._known: dict[str, _Command] = {}  # oldest first

    def start(self, request: StartCommandRequest, surroundings: Surroundings) -> CommandStatus:
        """Start a program.

        Raises IdInUse, LimitReached (so many run), and what `Program` and `CommandLog` raise.
        """

        def begin(log: CommandLog) -> Work:
            sinks = partial(log.append, FrameKind.STDOUT), partial(log.append, FrameKind.STDERR)
            return Program(request, self._children, surroundings, *sinks, keep_stdin=request.keep_stdin)

        return self._start(request, begin)

    def start_in_session(self, request: StartInSessionRequest, session: BashSession) -> CommandStatus:
        """Start a command in a session, in turn.

        Raises IdInUse, LimitReached, and what `CommandLog` raises.
        """
        return self._start(
            request, lambda log: StartedInSession(session, request, partial(log.append, FrameKind.STDOUT))
        )

    def _start(
        self, request: StartCommandRequest | StartInSessionRequest, begin: Callable[[CommandLog], Work]
    ) -> CommandStatus:
        command_id = request.command_id or secrets.token_hex(8)
        if command_id in self._known:
            raise IdInUse(
                f"there is a command {command_id!r}; close it first, or use another id",
                details={"field": "command_id", "value": command_id},
            )
        if len(self._known) >= self._limit and not self._forget_oldest():
            raise LimitReached(
                f"{self._limit} commands run in the sandbox; close some, or raise ROCKLET_COMMAND_LIMIT",
                details={"limit": "commands", "value": self._limit},
            )
        log = CommandLog(request.max_output_bytes, self._take_room)
        try:
            work = begin(log)
        except BaseException:
            log.close()
            raise
        command = self._known[command_id] = _Command(command_id, request, work, log, grace=self._grace)
        self._tasks.create_task(command.run(), name=f"command {command_id}")
        return command.describe()

    def list(self) -> CommandList:
        """All that are known."""
        return CommandList(commands=[command.describe() for command in self._known.values()])

    async def wait(self, command_id: str, hold: float, canceled: asyncio.Future[None]) -> CommandStatus:
        """A command at its end, or after `hold` seconds."""
        command = self._find(command_id)
        with command.attended():
            await wait_first(command.ended, canceled, timeout=hold)
        return command.describe()

    def follow(self, request: FollowCommandRequest) -> CommandFollowing:
        """What it prints.

        Raises CommandNotFound; InvalidRequest: that much was not printed.
        """
        return CommandFollowing(request, self._find(request.command_id))

    async def send_input(self, request: CommandInput, canceled: asyncio.Future[None]) -> CommandStatus:
        """Write to a command's stdin, and wait until it was taken; one that has ended misses nothing.

        Raises CommandNotFound; InvalidRequest: its stdin is closed.
        """
        command = self._find(request.command_id)
        with command.attended():
            await command.send_input(request.data, canceled, is_last=request.is_last)
        return command.describe()

    def signal(self, request: CommandSignal) -> CommandStatus:
        """Send a signal to a command's process group."""
        command = self._find(request.command_id)
        command.work.signal(request.signal)
        return command.describe()

    async def close_one(self, command_id: str) -> CommandStatus:
        """End a command if it runs, and forget it."""
        command = self._find(command_id)
        command.cancel()
        await wait_first(command.ended)
        if self._known.get(command_id) is command:
            self._forget(command)
        return command.describe()

    async def close(self) -> None:
        """End all, because the sandbox ends: whoever follows one is cut off, and is to ask Nomad why."""
        for command in self._known.values():
            command.is_lost = True
            command.cancel()
        for command in list(self._known.values()):
            await wait_first(command.ended)
            self._forget(command)

    def _find(self, command_id: str) -> _Command:
        command = self._known.get(command_id)
        if command is None:
            raise CommandNotFound(
                f"there is no command {command_id!r}; it was never started, or closed, or has ended and made room",
                details={"command_id": command_id},
            )
        return command

    def _take_room(self, size: int) -> bool:
        """Let a log become larger, if it may; oldest ones are forgotten where that is what it takes."""
        while self._log_bytes_left < size:
            if not self._forget_oldest():
                return False
        self._log_bytes_left -= size
        return True

    def _forget_oldest(self) -> bool:
        """Make room by forgetting one command; whether there was one that could be forgotten."""
        for command in self._known.values():
            if command.ended.done() and not command.is_attended:
                self._forget(command)
                return True
        return False

    def _forget(self, command: _Command) -> None:
        del self._known[command.command_id]
        command.log.close()


class _Command:
    """One command, from its start to its end and after."""

    def __init__(
        self,
        command_id: str,
        request: StartCommandRequest | StartInSessionRequest,
        work: Work,
        log: CommandLog,
        *,
        grace: float,
    ) -> None:
        self.command_id = command_id
        self.work = work
        self.log = log
        self._shown = request.command if isinstance(request.command, str) else shlex.join(request.command)
        self._background = request.background
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._call = Call(command_id)
        self.ended: asyncio.Future[ProgramEnd] = self._loop.create_future()
        self.is_lost = False
        """Whether it was ended together with the sandbox, which nobody wished of the command."""
        self._attendants = 0
        self._abandon: asyncio.TimerHandle | None = None
        self._expect_attendants()

    async def run(self) -> None:
        """See it through to its end."""
        try:
            end = await self.work.run(self._call)
        except RockException as error:  # its session was closed, or is busy: nobody waits to whom that could be raised
            end = _ended_early(error.message)
        except Exception as fault:  # noqa: BLE001 - the outermost edge: it would take the rocklet along
            end = _ended_early(explain_fault(fault, self.command_id).message)
        self._stop_expecting()
        self.ended.set_result(end)
        self.log.end()

    def cancel(self) -> None:
        """Kill it."""
        self._call.cancel()

    def describe(self) -> CommandStatus:
        """The command as callers see it."""
        end = self.ended.result() if self.ended.done() else None
        reasons = [end.failure_reason if end is not None else "", self.log.failure]
        return CommandStatus(
            command_id=self.command_id,
            pid=self.work.pid,
            command=self._shown[:_SHOWN],
            background=self._background,
            has_ended=end is not None,
            exit_code=end.exit_code if end is not None else None,
            timed_out=end is not None and end.timed_out,
            canceled=end is not None and end.canceled,
            failure_reason="; ".join(reason for reason in reasons if reason),
            output_bytes=self.log.output_bytes,
            cut_bytes=self.log.cut_bytes,
            duration=end.duration if end is not None else self.work.duration,
        )

    async def send_input(self, data: bytes, canceled: asyncio.Future[None], *, is_last: bool) -> None:
        """Write to its stdin; returns when that was taken, or never will be."""
        if not self.ended.done():
            await self.work.send(data, canceled, is_last=is_last)

    @property
    def is_attended(self) -> bool:
        """Whether anybody follows it or waits for it."""
        return self._attendants > 0

    @contextlib.contextmanager
    def attended(self) -> Iterator[None]:
        """Attend to it for as long as the block takes."""
        self.attend()
        try:
            yield
        finally:
            self.leave()

    def attend(self) -> None:
        """Somebody follows it from now on."""
        self._attendants += 1
        self._stop_expecting()

    def leave(self) -> None:
        """Somebody follows it no longer."""
        self._attendants -= 1
        if not self._attendants:
            self._expect_attendants()

    def _expect_attendants(self) -> None:
        if not self._background and not self.ended.done():
            self._abandon = self._loop.call_later(self._grace, self.cancel)

    def _stop_expecting(self) -> None:
        if self._abandon is not None:
            self._abandon.cancel()
            self._abandon = None


def _ended_early(why: str) -> ProgramEnd:
    return ProgramEnd(exit_code=None, timed_out=False, canceled=True, failure_reason=why, duration=0.0)


class CommandFollowing:
    """What a command prints, in frames, up to its end."""

    length: int | None = None
    sha256: str | None = None
    content_type = FRAMES_TYPE

    def __init__(self, request: FollowCommandRequest, command: _Command) -> None:
        self._waits = request.follow
        self._heartbeat = request.heartbeat
        self._command = command
        self._reader = command.log.open_reader(request.cursor)
        self._is_idle = self._is_over = False
        command.attend()

    def read(self) -> bytes:
        """The next frames; empty where there are none by now."""
        if self._is_idle:
            self._is_idle = False
            return HEARTBEAT
        has_ended = self._command.log.is_ended  # asked first: then what is read is all there is
        data = self._reader.read()
        if not data and has_ended and not self._is_over:
            self._is_over = True
            return b"" if self.is_cut else encode_frame(FrameKind.END, encode(self._command.describe()))
        return data

    @property
    def is_cut(self) -> bool:
        """Whether it ended with the sandbox."""
        return self._command.is_lost

    async def grew(self) -> bool:
        """Wait until there is more, be it a heartbeat; False if there will be none."""
        if self._is_over or not self._waits:
            return False
        try:
            async with asyncio.timeout(self._heartbeat):
                await self._reader.wait_more()
        except TimeoutError:
            self._is_idle = True
        return True

    def close(self) -> None:
        """Let go."""
        self._reader.close()
        self._command.leave()


_: type[Stream] = CommandFollowing
_program: type[Work] = Program
_in_session: type[Work] = StartedInSession
