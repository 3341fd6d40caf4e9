"""What SWE-ReX's calls are natively: its messages to the engine's, and the engine's results to its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from rock.wire import codec
from rock.wire.errors import SessionNotFound
from rock.wire.messages import (
    CreateSessionRequest,
    Empty,
    ExecuteRequest,
    InterruptRequest,
    ReadFileRequest,
    RunRequest,
    SessionRequest,
    WriteFileRequest,
)
from rocklet.actions import Call
from rocklet.dialects.swerex import messages as swerex
from rocklet.dialects.swerex.faults import CommandTimeoutError, NoExitCodeError, NonZeroExitCodeError, SwerexFault
from rocklet.engine import Engine

__all__ = ["CALLS", "Perform"]

_T = TypeVar("_T", bound=msgspec.Struct)

Perform = Callable[[Engine, Any, Call], Awaitable[msgspec.Struct]]


async def _create_session(engine: Engine, asked: swerex.StartSession, call: Call) -> msgspec.Struct:
    request = _native(
        CreateSessionRequest,
        session=asked.session,
        startup_source=[_absolute(engine, source) for source in asked.startup_source],
        startup_timeout=asked.startup_timeout,
    )
    return swerex.Created(output=(await engine.create_session(request, call)).output)


async def _run_in_session(engine: Engine, asked: swerex.Action, call: Call) -> msgspec.Struct:
    if isinstance(asked, swerex.Interrupt):
        request = _native(InterruptRequest, session=asked.session, grace=asked.timeout * max(asked.n_retry, 1))
        return swerex.Observed(output=(await engine.interrupt_session(request, call)).output, exit_code=0)
    return await _run_command(engine, asked, call)


async def _run_command(engine: Engine, asked: swerex.Command, call: Call) -> msgspec.Struct:
    is_dialogue = asked.is_interactive_command or asked.is_interactive_quit
    request = _native(
        RunRequest,
        command=asked.command,
        session=asked.session,
        timeout=asked.timeout,
        interactive=asked.is_interactive_command,
        interactive_quit=asked.is_interactive_quit,
        expect=asked.expect,
        expect_patterns=True,
        check_syntax=not is_dialogue,
    )
    done = await engine.run_in_session(request, call)
    output = done.output.replace("\r\n", "\n")
    if done.timed_out:
        raise CommandTimeoutError(f"{done.failure_reason}.  Its output until then:\n{output!r}")
    exit_code = 0 if is_dialogue else done.exit_code
    if asked.check == "raise" and not done.expect_string and exit_code != 0:
        raise _failed(asked, exit_code, f"Here is the output:\n{output!r}", done.failure_reason)
    return swerex.Observed(
        output=output,
        exit_code=None if asked.check == "ignore" else exit_code,
        failure_reason=done.failure_reason,
        expect_string=done.expect_string or swerex.PROMPT,
    )


async def _close_session(engine: Engine, asked: swerex.CloseSession, call: Call) -> msgspec.Struct:
    await engine.close_session(_native(SessionRequest, session=asked.session), call)
    return swerex.Closed()


async def _execute(engine: Engine, asked: swerex.Execute, call: Call) -> msgspec.Struct:
    request = _native(
        ExecuteRequest,
        command=_command(asked),
        cwd=asked.cwd and _absolute(engine, asked.cwd),
        env=asked.env or {},
        inherit_env=asked.env is None,
        merge_streams=asked.merge_output_streams,
        timeout=asked.timeout,
    )
    done = await engine.execute(request, call)
    if done.timed_out or (asked.check and done.exit_code != 0):
        printed = f"Stdout:\n{done.stdout!r}\nStderr:\n{done.stderr!r}"
        if done.timed_out:
            raise CommandTimeoutError(f"{done.failure_reason}.  Its output until then:\n{printed}")
        raise _failed(asked, done.exit_code, printed, done.failure_reason)
    return swerex.Output(stdout=done.stdout, stderr=done.stderr, exit_code=done.exit_code)


def _command(asked: swerex.Execute) -> str | list[str]:
    """A text is one program's name unless a shell was asked for, whose further arguments a list has."""
    if isinstance(asked.command, str):
        return asked.command if asked.shell else [asked.command]
    return ["/bin/sh", "-c", *asked.command] if asked.shell else asked.command


async def _read_file(engine: Engine, asked: swerex.ReadFile, call: Call) -> msgspec.Struct:
    request = _native(
        ReadFileRequest,
        path=_absolute(engine, asked.path),
        encoding=asked.encoding or "utf-8",
        errors=asked.errors or "strict",
    )
    return swerex.FileText(content=(await engine.read_file(request, call)).content)


async def _write_file(engine: Engine, asked: swerex.WriteFile, call: Call) -> msgspec.Struct:
    await engine.write_file(_native(WriteFileRequest, path=_absolute(engine, asked.path), content=asked.content), call)
    return swerex.Nothing()


async def _close(engine: Engine, asked: swerex.Nothing, call: Call) -> msgspec.Struct:
    """Close all sessions; the server stays."""
    for session in (await engine.list_sessions(Empty(), call)).sessions:
        with contextlib.suppress(SessionNotFound):  # somebody else was faster
            await engine.close_session(SessionRequest(session=session.session), call)
    return swerex.Nothing()


CALLS: Mapping[str, tuple[Any, Perform]] = MappingProxyType(
    {
        "create_session": (swerex.StartSession, _create_session),
        "run_in_session": (swerex.Action, _run_in_session),
        "close_session": (swerex.CloseSession, _close_session),
        "execute": (swerex.Execute, _execute),
        "read_file": (swerex.ReadFile, _read_file),
        "write_file": (swerex.WriteFile, _write_file),
        "close": (swerex.Nothing, _close),
    }
)
"""The calls with a JSON body: what it says, and who does it."""


def _native(kind: type[_T], **fields: Any) -> _T:  # noqa: ANN401 - as the fields are
    """A message of the wire, its limits checked.

    Raises InvalidRequest.
    """
    return codec.convert(kind, fields)


def _absolute(engine: Engine, path: str) -> str:
    return os.path.join(engine.home, path)


def _failed(asked: swerex.Command | swerex.Execute, exit_code: int | None, printed: str, why: str) -> SwerexFault:
    """The exception for an exit code that is not 0, or not known, with the words that SWE-ReX has for it."""
    intro = f"{asked.error_msg}: " if asked.error_msg else ""
    if exit_code is None:
        return NoExitCodeError(f"{intro}Command {asked.command!r} has no exit code: {why}. {printed}")
    return NonZeroExitCodeError(f"{intro}Command {asked.command!r} failed with exit code {exit_code}. {printed}")
