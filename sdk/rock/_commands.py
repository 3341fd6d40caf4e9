"""Commands that run by themselves in a sandbox, and what they print as it comes."""

from __future__ import annotations

import asyncio
import codecs
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

import msgspec

from rock.errors import CommandNotFound, InvalidParameterRockException, RockException
from rock.wire import codec
from rock.wire import commands as c
from rock.wire import operations as ops
from rock.wire.frames import FrameKind
from rock.wire.messages import Empty

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rock._connection import Connection
    from rock._sandbox import Sandbox
    from rock.wire.operations import Operation

__all__ = ["CommandOptions", "Commands", "OutputPiece", "RunningCommand", "start_command"]

log = logging.getLogger(__name__)

_CLEANUP_TIMEOUT = 5.0  # seconds
_HOLD = 60.0  # seconds that a rocklet may hold one answer
_INPUT_PIECE = 2**19  # bytes sent at once; what a request may hold is twice that

_STREAMS: dict[FrameKind, Literal["stdout", "stderr"]] = {FrameKind.STDOUT: "stdout", FrameKind.STDERR: "stderr"}


class OutputPiece(NamedTuple):
    """Some of what a command has printed."""

    stream: Literal["stdout", "stderr"]
    data: bytes
    text: str
    """The same as text.  A character that was cut in two is in the piece that has its end; bytes that are none are
    written as `\\xNN`."""


class CommandOptions(TypedDict, total=False):
    """What else can be said of a command when it is started."""

    cwd: str | None
    env: dict[str, str]
    """Added to the sandbox's environment."""
    user: str | None
    timeout: float | None
    """Seconds after its start at which it is killed."""
    silence_timeout: float | None
    """The same, when it has printed nothing for so long."""
    stdin: str
    keep_stdin: bool
    """Whether its stdin can be written to while it runs."""
    merge_streams: bool
    """Whether stderr goes where stdout goes, in the order of printing."""
    max_output_bytes: int
    """What is kept of its output; the rest is counted in its status's `cut_bytes`."""
    command_id: str | None
    """What to call it; one is made up if it is left out."""
    session: str
    """Run it in this session, in turn.  Then it has the session's directory, environment, user and terminal: its
    output is all on stdout, and of the options above only time-outs, `max_output_bytes` and `command_id` go with it."""


class RunningCommand:
    """A command in a sandbox, from wherever it was started.

    Iterate over it for what it prints: each byte comes once, however often the connection is lost in between, and the
    iteration ends when the command has.  One that breaks off (by `break`, or by SandboxUnreachable when there was no
    way to the sandbox for half a minute) can be begun again, and goes on behind the last piece.
    """

    def __init__(self, rocklet: Connection, status: c.CommandStatus, *, cursor: int = 0) -> None:
        self._rocklet = rocklet
        self.status = status
        """As it was told last."""
        self.cursor = cursor
        """How many bytes of its output have come; `Commands.attach` takes it, in another process, too."""
        # A character that is cut in two may be so by a lost connection.
        self._decoders = {kind: codecs.getincrementaldecoder("utf-8")("backslashreplace") for kind in _STREAMS}

    def __repr__(self) -> str:
        return f"RunningCommand({self.command_id!r}, cursor={self.cursor})"

    @property
    def command_id(self) -> str:
        """Its id."""
        return self.status.command_id

    @property
    def exit_code(self) -> int | None:
        """As a shell tells it, once its end was told; None where it was killed by a time-out or `close`."""
        return self.status.exit_code

    def __aiter__(self) -> AsyncGenerator[OutputPiece, None]:
        return self.follow()

    async def follow(self, *, wait: bool = True) -> AsyncGenerator[OutputPiece, None]:
        """What it prints up to its end, as iterating over it; or, without `wait`, what it has printed by now."""

        def rest() -> c.FollowCommandRequest:
            return c.FollowCommandRequest(command_id=self.command_id, cursor=self.cursor, follow=wait)

        async with aclosing(self._rocklet.follow(ops.FOLLOW_COMMAND, rest)) as frames:
            async for kind, payload in frames:
                if kind is FrameKind.END:
                    self.status = codec.decode(c.CommandStatus, payload)
                else:
                    self.cursor += len(payload)
                    yield OutputPiece(_STREAMS[kind], payload, self._decoders[kind].decode(payload))
        for kind, stream in _STREAMS.items():
            if self.status.has_ended and (left := self._decoders[kind].decode(b"", final=True)):
                yield OutputPiece(stream, b"", left)

    async def wait(self, timeout: float | None = None) -> c.CommandStatus:
        """How it has ended; or, after `timeout` seconds, how it is by then."""
        loop = asyncio.get_running_loop()
        deadline = math.inf if timeout is None else loop.time() + timeout
        while True:
            hold = min(max(deadline - loop.time(), 0.0), _HOLD)
            request = c.WaitCommandRequest(command_id=self.command_id, hold=hold)
            self.status = await self._rocklet.call(ops.WAIT_COMMAND, request)
            if self.status.has_ended or loop.time() >= deadline:
                return self.status

    async def write(self, data: bytes | str) -> None:
        """Send to its stdin, which `keep_stdin` has kept open; returns when the command has taken nearly all of it.

        Raises InvalidRequest: it is closed.
        """
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        for start in range(0, len(data), _INPUT_PIECE):
            await self._send(data[start : start + _INPUT_PIECE])

    async def close_stdin(self) -> None:
        """Let it read the end of its stdin."""
        await self._send(b"", is_last=True)

    async def signal(self, number: int) -> None:
        """Send a signal, such as `signal.SIGINT`, to its process group; one that has ended feels nothing."""
        request = c.CommandSignal(command_id=self.command_id, signal=number)
        self.status = await self._rocklet.call(ops.SIGNAL_COMMAND, request)

    async def close(self) -> None:
        """Kill it if it runs, and have its log forgotten; one that is forgotten already is no error."""
        try:
            request = c.CommandRequest(command_id=self.command_id)
            self.status = await self._rocklet.call(ops.CLOSE_COMMAND, request)
        except CommandNotFound:
            log.debug("command %s is closed already", self.command_id)

    async def _send(self, data: bytes, *, is_last: bool = False) -> None:
        request = c.CommandInput(command_id=self.command_id, data=data, is_last=is_last)
        self.status = await self._rocklet.call(ops.SEND_INPUT, request)


class Commands:
    """A sandbox's commands that run by themselves.  One whose output is shown as it comes:

    async with sandbox.commands.stream("make -j8") as make:
        async for piece in make:
            print(piece.text, end="")
    print(make.exit_code)
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def start(self, command: str | Sequence[str], **options: Unpack[CommandOptions]) -> RunningCommand:
        """Start a program, or shell text, in the background: it goes on whoever goes away.

        Raises CommandFailed: it cannot be started; LimitReached: so many run already; IdInUse.
        """
        return await start_command(self._rocklet, command, options, background=True)

    @asynccontextmanager
    async def stream(
        self, command: str | Sequence[str], **options: Unpack[CommandOptions]
    ) -> AsyncIterator[RunningCommand]:
        """The same in the foreground: it is killed at the end of the block, or half a minute after we were lost."""
        running = await start_command(self._rocklet, command, options, background=False)
        try:
            yield running
        finally:
            await _close_quietly(running)

    async def attach(self, command_id: str, *, cursor: int = 0) -> RunningCommand:
        """A command that was started elsewhere; its output is told from `cursor` on.

        Raises CommandNotFound: there is none of that id, or its log had to make room.
        """
        request = c.WaitCommandRequest(command_id=command_id)
        return RunningCommand(self._rocklet, await self._rocklet.call(ops.WAIT_COMMAND, request), cursor=cursor)

    async def list(self) -> list[RunningCommand]:
        """All that are known, those that have ended and were not closed too; the oldest first."""
        told = await self._rocklet.call(ops.LIST_COMMANDS, Empty())
        return [RunningCommand(self._rocklet, status) for status in told.commands]

    @property
    def _rocklet(self) -> Connection:
        return self._sandbox._rocklet


async def start_command(
    rocklet: Connection, command: str | Sequence[str], options: CommandOptions, *, background: bool
) -> RunningCommand:
    """Start a command.

    Raises InvalidParameterRockException: an option that is none, or does not go with a session.
    """
    in_session = "session" in options
    operation: Operation[Any, c.CommandStatus] = ops.START_IN_SESSION if in_session else ops.START_COMMAND
    what = command if isinstance(command, str) else list(command)
    try:
        request = msgspec.convert({**options, "command": what, "background": background}, operation.request)
    except msgspec.ValidationError as error:
        where = " in a session" if in_session else ""
        raise InvalidParameterRockException(f"a command{where} cannot be started so: {error}") from error
    return RunningCommand(rocklet, await rocklet.call(operation, request))


async def _close_quietly(running: RunningCommand) -> None:
    try:
        await asyncio.wait_for(running.close(), _CLEANUP_TIMEOUT)
    except (RockException, asyncio.TimeoutError) as error:
        # What the block has to tell is what was asked for; the rocklet ends a command that nobody follows.
        log.debug("command %s was not closed: %s", running.command_id, error)
