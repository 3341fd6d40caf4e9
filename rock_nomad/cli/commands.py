"""Commands in sandboxes, as they run: exec, commands, kill."""

from __future__ import annotations

import asyncio
import signal as signals
from contextlib import aclosing
from typing import Annotated

import typer

from rock._commands import CommandOptions, RunningCommand, start_command
from rock._connection import Connection
from rock.wire import operations as op
from rock.wire.commands import CommandRequest, CommandSignal, CommandStatus
from rock.wire.errors import InvalidRequest, RockException
from rock.wire.messages import Empty
from rock_nomad.cli.options import SandboxArgument, connect
from rock_nomad.cli.output import Format, FormatOption, SeenEnough, out, print_commands, say, show_bytes
from rock_nomad.cli.stdin import read_stdin

__all__ = ["COMMANDS", "follow_command"]

_CLOSE_TIMEOUT = 5.0  # seconds
_TIMED_OUT, _KILLED = 124, 1  # exit codes where a command has none of its own; the first is timeout(1)'s

CommandIdArgument = Annotated[str, typer.Argument(metavar="COMMAND_ID", help="As `exec --detach` has printed it.")]


async def exec_(
    sandbox: SandboxArgument,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="Run as it stands, without a shell.")],
    *,
    shell: Annotated[bool, typer.Option("--shell", help="COMMAND is shell text.")] = False,
    interactive: Annotated[bool, typer.Option("--stdin", "-i", help="Send it this stdin.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave it running, and print its id.")] = False,
    cwd: Annotated[str | None, typer.Option(help="Where to run it.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    silence_timeout: Annotated[float | None, typer.Option(help="Seconds that it may print nothing.")] = None,
) -> int:
    """Run a command in a sandbox, show what it prints as it comes, and end with its exit code."""
    if detach and interactive:
        raise InvalidRequest("a command that is left running has no stdin from here; leave out --stdin or --detach")
    options: CommandOptions = {"cwd": cwd, "timeout": timeout, "silence_timeout": silence_timeout}
    options["keep_stdin"] = interactive
    connection = Connection(connect(), sandbox)
    what = " ".join(command) if shell else command
    running = await start_command(connection, what, options, background=detach)
    if detach:
        out.print(running.command_id, markup=False)
        return 0
    try:
        await _attend(running, with_stdin=interactive)
    except SeenEnough:
        return 0
    finally:
        await _close(running)
    return _tell_end(running.status)


async def commands(sandbox: SandboxArgument, output: FormatOption = Format.TABLE) -> None:
    """List the commands that run in a sandbox by themselves, or have."""
    told = await Connection(connect(), sandbox).call(op.LIST_COMMANDS, Empty())
    print_commands(told.commands, output)


async def kill(
    sandbox: SandboxArgument,
    command_id: CommandIdArgument,
    *,
    signal: Annotated[str | None, typer.Option("--signal", "-s", help="Such as INT; without, it is forgotten.")] = None,
) -> None:
    """End a command that `exec --detach` has left running, or send it a signal."""
    connection = Connection(connect(), sandbox)
    if signal is None:
        await connection.call(op.CLOSE_COMMAND, CommandRequest(command_id=command_id))
    else:
        await connection.call(op.SIGNAL_COMMAND, CommandSignal(command_id=command_id, signal=_number(signal)))


async def follow_command(sandbox: str, command_id: str, *, follow: bool) -> int:
    """Show what a command has printed, and with `follow` what it prints up to its end; its exit code, 0 as long as it
    runs."""
    connection = Connection(connect(), sandbox)
    running = RunningCommand(connection, CommandStatus(command_id=command_id, pid=0, command=""))
    await _show(running, follow=follow)
    return _tell_end(running.status) if running.status.has_ended else 0


async def _attend(running: RunningCommand, *, with_stdin: bool) -> None:
    """Show what it prints up to its end, and send it our stdin meanwhile."""
    if not with_stdin:
        await _show(running)
        return
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send_stdin(running))
            await _show(running)
            sending.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # what failed second was cancelled, or failed alike


async def _show(running: RunningCommand, *, follow: bool = True) -> None:
    async with aclosing(running.follow(wait=follow)) as pieces:
        async for piece in pieces:
            await show_bytes(piece.data, on_stderr=piece.stream == "stderr")


async def _send_stdin(running: RunningCommand) -> None:
    while keys := await read_stdin():
        await running.write(keys)
    await running.close_stdin()


async def _close(running: RunningCommand) -> None:
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await running.close()
    except (RockException, TimeoutError) as error:
        say(f"note: command {running.command_id} may run for half a minute more: {error}")


def _tell_end(status: CommandStatus) -> int:
    """The exit code of a command that has ended, having said what there is to say of that."""
    if status.failure_reason:
        say(status.failure_reason)
    if status.cut_bytes:
        say(f"{status.cut_bytes} bytes that it printed last were more than its log takes, and are not shown")
    if status.exit_code is not None:
        return status.exit_code
    return _TIMED_OUT if status.timed_out else _KILLED


def _number(name: str) -> int:
    try:
        return int(name) if name.isdigit() else signals.Signals[f"SIG{name.upper().removeprefix('SIG')}"].value
    except KeyError:
        raise InvalidRequest(f"there is no signal {name}; write INT, TERM or a number") from None


COMMANDS = (exec_, commands, kill)
