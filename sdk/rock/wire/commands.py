"""Commands that run by themselves: started by one call, followed, told and ended by others, from wherever.

What they print goes to a log on the sandbox's disk.  A cursor is a number of bytes in it, both streams together, so
that whoever lost a connection goes on after the last byte that came.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from rock.wire.messages import DEFAULT_OUTPUT_LIMIT, ExecuteRequest, OutputLimit, SessionName, ShellText
from rock.wire.spec import Seconds

__all__ = [
    "CommandId",
    "CommandInput",
    "CommandList",
    "CommandRequest",
    "CommandSignal",
    "CommandStatus",
    "FollowCommandRequest",
    "Signal",
    "StartCommandRequest",
    "StartInSessionRequest",
    "WaitCommandRequest",
]

CommandId = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", description="1 to 64 letters, digits, dots, dashes and _"),
]
Signal = Annotated[int, Meta(ge=1, le=64, description="a signal's number, 1 to 64")]
_Input = Annotated[bytes, Meta(max_length=2**20, description="base64 of at most 1 MiB")]


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message to a server."""


class StartCommandRequest(ExecuteRequest, frozen=True, kw_only=True):
    """Start a program and do not wait for it.  `max_output_bytes` is what its log may have of both streams together:
    what it prints beyond that is read, so that it goes on, and counted in `cut_bytes`."""

    command_id: CommandId | None = None
    """What to call it; None: an id is made up."""
    background: bool = False
    """Whether it goes on when nobody follows it or waits for it.  If not, it is killed some time after the last one
    has gone: half a minute, which is for whoever lost a connection."""
    keep_stdin: bool = False
    """Whether its stdin stays open behind `stdin`, for `send_input`."""


class StartInSessionRequest(_Request, frozen=True, kw_only=True):
    """Start a command in a session, after those that wait there already, and do not wait for it.  What it prints is as
    `run_in_session` has it, all on stdout; its stdin is the session's terminal."""

    command: ShellText
    session: SessionName = "default"
    timeout: Seconds | None = None
    """From the moment it begins, as the next one: then it is ended, and the session stays usable."""
    silence_timeout: Seconds | None = None
    check_syntax: bool = False
    """As of `run_in_session`."""
    max_output_bytes: OutputLimit = DEFAULT_OUTPUT_LIMIT
    """What its log may have."""
    command_id: CommandId | None = None
    """As of `start_command`; likewise the next."""
    background: bool = False


class CommandRequest(_Request, frozen=True, kw_only=True):
    """A call about one command."""

    command_id: CommandId


class CommandStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A command and, once it has come, its end."""

    command_id: str
    pid: int
    """Of the program, which leads a process group of its own; of the shell, while it runs in a session, otherwise 0."""
    command: str
    """The beginning of it, for people."""
    background: bool = False
    has_ended: bool = False
    exit_code: int | None = None
    """As a shell tells it: 128 + n after signal n.  None while it runs, and when it was killed by us."""
    timed_out: bool = False
    canceled: bool = False
    failure_reason: str = ""
    """What befell it, or its log, other than its own exit code."""
    output_bytes: int = 0
    """In its log by now: the cursor behind all of it."""
    cut_bytes: int = 0
    """What it has printed when its log was full, or could not be written."""
    duration: float = 0.0
    """Seconds, until now or its end."""


class CommandList(msgspec.Struct, frozen=True, kw_only=True):
    """The commands that are known, the oldest first."""

    commands: list[CommandStatus]


class WaitCommandRequest(CommandRequest, frozen=True, kw_only=True):
    """Wait for a command's end."""

    hold: Annotated[float, Meta(ge=0, le=60, description="seconds, 0 to 60")] = 0.0
    """Answer when it has ended, or after so many seconds; as of `wait_process`, never more than 2 or a thirtieth of the
    sandbox's idle timeout."""


class FollowCommandRequest(CommandRequest, frozen=True, kw_only=True):
    """What a command prints, as frames (`rock.wire.frames`), up to its end; the last one is its `CommandStatus`."""

    cursor: Annotated[int, Meta(ge=0, description="bytes, 0 or more")] = 0
    """How much of it the caller has already."""
    follow: bool = True
    """Whether to wait for more; if not, what there is by now is all."""
    heartbeat: Seconds = 15.0
    """How long nothing is sent at most."""


class CommandInput(CommandRequest, frozen=True, kw_only=True):
    """Bytes for a command's stdin.  Answered when there is little left that the command has not taken."""

    data: _Input = b""
    is_last: bool = False
    """Whether to close it behind them."""


class CommandSignal(CommandRequest, frozen=True, kw_only=True):
    """A signal for a command's process group; one that has ended feels nothing."""

    signal: Signal
