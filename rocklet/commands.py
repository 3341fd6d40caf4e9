"""Commands that run by themselves: known by an id, followed by whoever asks, and forgotten when they are closed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import Iterator
from functools import partial

from rock.wire.codec import encode
from rock.wire.commands import (
    CommandInput,
    CommandList,
    CommandSignal,
    CommandStatus,
    FollowCommandRequest,
    StartCommandRequest,
)
from rock.wire.errors import CommandNotFound, IdInUse, InvalidRequest, LimitReached
from rock.wire.frames import FRAMES_TYPE, HEARTBEAT, FrameKind, encode_frame
from rocklet.command_log import CommandLog
from rocklet.execute import Program, ProgramEnd
from rocklet.files import Stream
from rocklet.processes import Children
from rocklet.surroundings import Surroundings
from rocklet.waiting import wait_first

__all__ = ["CommandFollowing", "Commands"]

_SHOWN = 200  # characters of a command in its status


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
            program = Program(
                request,
                self._children,
                surroundings,
                partial(log.append, FrameKind.STDOUT),
                partial(log.append, FrameKind.STDERR),
                keep_stdin=request.keep_stdin,
            )
        except BaseException:
            log.close()
            raise
        command = self._known[command_id] = _Command(command_id, request, program, log, grace=self._grace)
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
        command.program.child.signal_group(request.signal)
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
        self, command_id: str, request: StartCommandRequest, program: Program, log: CommandLog, *, grace: float
    ) -> None:
        self.command_id = command_id
        self.program = program
        self.log = log
        self._shown = request.command if isinstance(request.command, str) else shlex.join(request.command)
        self._background = request.background
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._canceled: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[ProgramEnd] = self._loop.create_future()
        self.is_lost = False
        """Whether it was ended together with the sandbox, which nobody wished of the command."""
        self._attendants = 0
        self._abandon: asyncio.TimerHandle | None = None
        self._expect_attendants()

    async def run(self) -> None:
        """See it through to its end."""
        end = await self.program.run(self._canceled)
        self._stop_expecting()
        self.ended.set_result(end)
        self.log.end()

    def cancel(self) -> None:
        """Kill it."""
        if not self._canceled.done():
            self._canceled.set_result(None)

    def describe(self) -> CommandStatus:
        """The command as callers see it."""
        end = self.ended.result() if self.ended.done() else None
        reasons = [end.failure_reason if end is not None else "", self.log.failure]
        return CommandStatus(
            command_id=self.command_id,
            pid=self.program.child.pid,
            command=self._shown[:_SHOWN],
            background=self._background,
            has_ended=end is not None,
            exit_code=end.exit_code if end is not None else None,
            timed_out=end is not None and end.timed_out,
            canceled=end is not None and end.canceled,
            failure_reason="; ".join(reason for reason in reasons if reason),
            output_bytes=self.log.output_bytes,
            cut_bytes=self.log.cut_bytes,
            duration=end.duration if end is not None else self.program.duration,
        )

    async def send_input(self, data: bytes, canceled: asyncio.Future[None], *, is_last: bool) -> None:
        """Write to its stdin; returns when that was taken, or never will be."""
        stdin = self.program.stdin
        if self.ended.done():
            return
        if stdin.is_closed:
            raise InvalidRequest(
                f"the stdin of command {self.command_id!r} is closed; start it with keep_stdin, and send is_last last",
                details={"field": "data", "value": "", "expected": "a command whose stdin is open"},
            )
        stdin.send(data)
        if is_last:
            stdin.close_when_sent()
        await stdin.wait_sent(canceled)

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
