"""`logs`: what a sandbox's rocklet writes, or a command in its background."""

from __future__ import annotations

import dataclasses
from contextlib import aclosing
from typing import Annotated

import typer

from rock._connection import Connection
from rock._transport import Call, Route
from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.errors import FileAccess, FileNotFound
from rock.wire.monitoring import ReadLogRequest
from rock_nomad.cli.commands import follow_command
from rock_nomad.cli.options import SandboxArgument, connect
from rock_nomad.cli.output import SeenEnough, show_bytes

__all__ = ["COMMANDS"]


async def logs(
    sandbox: SandboxArgument,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")] = False,
    process: Annotated[
        int | None, typer.Option(metavar="PID", min=1, help="Of a command in the background, which writes to a file.")
    ] = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="With --process: its stderr, not its stdout.")] = False,
    command: Annotated[
        str | None, typer.Option(metavar="COMMAND_ID", help="Of a command that `exec --detach` has started.")
    ] = None,
) -> int:
    """Print the log of a sandbox's rocklet, also after the sandbox's end; or what a command in its background wrote.

    With --command it ends with the command's exit code, if that has ended.
    """
    try:
        if command is not None:
            return await follow_command(sandbox, command, follow=follow)
        if process is None:
            await _print_log(sandbox, follow=follow)
        else:
            await _print_output(sandbox, process, descriptor=2 if stderr else 1, follow=follow)
        return 0
    except SeenEnough:
        return 0


async def _print_log(sandbox: str, *, follow: bool) -> None:
    gateway, request = connect(), ReadLogRequest(follow=follow)
    if follow:
        async with aclosing(gateway.follow(op.READ_LOG, request, sandbox_id=sandbox)) as followed:
            async for piece in followed:
                await show_bytes(piece)
        return
    async with gateway.stream(op.READ_LOG, request, sandbox_id=sandbox) as pieces:
        async for piece in pieces:
            await show_bytes(piece)


async def _print_output(sandbox: str, pid: int, *, descriptor: int, follow: bool) -> None:
    """What a process has written to a file that it still has open."""
    written = 0

    def rest() -> m.DownloadRequest:
        # Sent again after a connection was lost, it goes on where that happened.
        path = f"/proc/{pid}/fd/{descriptor}"
        return m.DownloadRequest(path=path, sha256=False, offset=written, follow=pid if follow else None)

    async def receive(route: Route, call: Call) -> None:
        nonlocal written
        async with route.stream(dataclasses.replace(call, request=rest())) as (_, pieces):
            async for piece in pieces:
                await show_bytes(piece)
                written += len(piece)

    connection = Connection(connect(), sandbox)
    try:
        if not follow:
            await connection.download(op.DOWNLOAD, rest(), receive)
            return
        async with aclosing(connection.follow(op.DOWNLOAD, rest)) as frames:
            async for _, piece in frames:
                await show_bytes(piece)
                written += len(piece)
    except FileNotFound as error:
        raise FileNotFound(
            f"no process {pid} runs in sandbox {sandbox}; what one that has ended wrote is in the file that it wrote "
            f"to: rock-nomad cp {sandbox}:FILE -",
            details=error.details,
        ) from error
    except FileAccess as error:
        raise FileAccess(
            f"what process {pid} writes cannot be read: {error.message}; `nohup ... > FILE 2>&1 &` has it in a file",
            details=error.details,
        ) from error


COMMANDS = (logs,)
