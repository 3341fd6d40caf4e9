"""`shell`: a person's own terminal, joined to a program in a sandbox."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from aiohttp import ClientWebSocketResponse, WSMsgType

from rock.wire import codec
from rock.wire.errors import InvalidRequest, SandboxUnreachable
from rock.wire.tunnels import OPEN_CONSOLE, ConsoleExit, ConsoleRequest, Resize
from rock_nomad.cli.options import SandboxArgument, connect
from rock_nomad.cli.output import write_bytes
from rock_nomad.cli.stdin import read_stdin
from rock_nomad.cli.tunnels import open_tunnel

__all__ = ["COMMANDS"]


async def shell(
    sandbox: SandboxArgument,
    command: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Instead of a shell.")] = None,
    *,
    user: Annotated[str | None, typer.Option(help="Who runs it.")] = None,
    cwd: Annotated[str | None, typer.Option(help="Where to run it.")] = None,
    term: Annotated[str, typer.Option(envvar="TERM", help="What kind of terminal yours is.")] = "xterm-256color",
) -> int:
    """Open a shell, or a program, on your terminal; ends with its exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidRequest("shell needs a terminal on stdin and stdout; use exec in scripts")
    cols, rows = os.get_terminal_size()
    request = ConsoleRequest(
        command=command or [], user=user, cwd=cwd, term=term or "dumb", rows=max(rows, 1), cols=max(cols, 1)
    )
    async with open_tunnel(connect(), OPEN_CONSOLE, sandbox, request=request) as console:
        with _raw_terminal():
            return await _attend(console)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys come as they are pressed, Ctrl-C too; afterwards everything is as it was."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def _attend(console: ClientWebSocketResponse) -> int:
    """The program's exit code, once it has ended.

    Raises SandboxUnreachable: the way to it was lost before.
    """
    resized = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, resized.set)
    try:
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(_type(console)), tasks.create_task(_resize(console, resized))]
            exit_code = await _show(console)
            for helper in helpers:
                helper.cancel()
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
    if exit_code is None:
        raise SandboxUnreachable("the connection to the sandbox was lost; what ran there was hung up")
    return exit_code


async def _show(console: ClientWebSocketResponse) -> int | None:
    async for message in console:
        if message.type is WSMsgType.TEXT:
            return codec.decode(ConsoleExit, message.data.encode()).exit_code
        if message.type is WSMsgType.BINARY:
            await asyncio.to_thread(write_bytes, message.data)  # a terminal that is stopped by Ctrl-S blocks
    return None


async def _type(console: ClientWebSocketResponse) -> None:
    try:
        while True:
            keys = await read_stdin()
            if not keys:
                await console.close()  # the terminal is gone
                return
            await console.send_bytes(keys)
    except ConnectionError:
        return  # the other direction tells


async def _resize(console: ClientWebSocketResponse, resized: asyncio.Event) -> None:
    while True:
        await resized.wait()
        resized.clear()
        cols, rows = os.get_terminal_size()
        try:
            await console.send_str(codec.encode(Resize(rows=max(rows, 1), cols=max(cols, 1))).decode())
        except ConnectionError:
            return


COMMANDS = (shell,)
