"""What the CLI shows a person, and what it prints for programs."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from rock.wire.commands import CommandStatus
from rock.wire.messages import SandboxStatus, State
from rock.wire.reasons import REASONS
from rock.wire.sizes import format_size

__all__ = [
    "Format",
    "FormatOption",
    "Progress",
    "SeenEnough",
    "describe",
    "out",
    "print_commands",
    "print_json",
    "print_sandboxes",
    "say",
    "show_bytes",
    "write_bytes",
]

out = Console(soft_wrap=True, highlight=False)
"""Results."""
_err = Console(stderr=True, soft_wrap=True, highlight=False)

_COLOURS = {State.PENDING: "yellow", State.RUNNING: "green", State.STOPPED: "dim"}


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="A table for people, JSON for programs.")]


def say(message: str) -> None:
    """Tell what is going on; on stderr, so that results can be piped."""
    _err.print(message, markup=False)


class SeenEnough(Exception):
    """Whoever reads our stdout has gone, as `head` does."""


def write_bytes(data: bytes, *, on_stderr: bool = False) -> None:
    """Bytes of a sandbox's own, as they are and at once.  Blocks while whoever reads them is slow."""
    target = sys.stderr if on_stderr else sys.stdout
    view = memoryview(data)
    while view:
        view = view[os.write(target.fileno(), view) :]


async def show_bytes(data: bytes, *, on_stderr: bool = False) -> None:
    """The same, while others run.

    Raises SeenEnough: as BrokenPipeError it would pass for a lost connection to the sandbox.
    """
    try:
        await asyncio.to_thread(write_bytes, data, on_stderr=on_stderr)
    except BrokenPipeError:
        raise SeenEnough from None


def print_json(value: object) -> None:
    """A result as JSON, indented."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_sandboxes(sandboxes: Sequence[SandboxStatus], form: Format) -> None:
    """A listing, newest first."""
    if form is Format.JSON:
        print_json(list(sandboxes))
        return
    if not sandboxes:
        say("no sandboxes")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("sandbox", "state", "reason", "age", "image", "cpus", "memory", "gpus", "node"):
        table.add_column(column, no_wrap=column == "sandbox")
    for status in sandboxes:
        table.add_row(
            status.sandbox_id,
            f"[{_COLOURS[status.state]}]{status.state.value}[/]",
            status.reason.value if status.reason else "",
            _age(status),
            status.image,
            f"{status.cpus:g}",
            format_size(status.memory_bytes),
            f"{status.gpus} {status.gpu_type or ''}".strip() if status.gpus else "",
            status.node or "",
        )
    out.print(table)


def describe(status: SandboxStatus) -> str:
    """One sandbox in a sentence or two: what it is doing, or why it ended and what to do about that."""
    if status.state is State.STOPPED:
        if status.reason is None:
            return f"sandbox {status.sandbox_id} has stopped; the evidence of why is gone"
        facts = REASONS[status.reason]
        said = f": {status.message}" if status.message and status.message != facts.summary else ""
        return (
            f"sandbox {status.sandbox_id} has stopped ({status.reason.value}): {facts.summary}{said}. "
            f"{facts.remedy[:1].upper()}{facts.remedy[1:]}."
        )
    where = f" on {status.node}" if status.node else ""
    said = f": {status.message}" if status.message else ""
    return f"sandbox {status.sandbox_id} is {status.state.value}{where}{said}"


def print_commands(commands: Sequence[CommandStatus], form: Format) -> None:
    """A listing of a sandbox's commands."""
    if form is Format.JSON:
        print_json(list(commands))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("command id", "state", "seconds", "output", "command"):
        table.add_column(column, no_wrap=column == "command id")
    for each in commands:
        ended = "ended" if each.exit_code is None else f"exit code {each.exit_code}"
        state = ended if each.has_ended else "running"
        printed = format_size(each.output_bytes)
        table.add_row(each.command_id, state, f"{each.duration:.0f}", printed, escape(each.command))
    out.print(table)


def _age(status: SandboxStatus) -> str:
    if status.created_at is None:
        return ""
    seconds = max(0, int((status.stopped_at or time.time()) - status.created_at))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


class Progress:
    """One line that says what is being waited for: rewritten on a terminal, said once for each change elsewhere."""

    def __init__(self) -> None:
        self._said = ""
        self._status: Status | None = out.status("") if out.is_terminal else None

    def __enter__(self) -> Progress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, message: str) -> None:
        """What is being waited for now."""
        if self._status is not None:
            self.update(message)
        elif message != self._said:
            say(message)
        self._said = message

    def update(self, message: str) -> None:
        """How far that is: for a terminal alone."""
        if self._status is not None:
            self._status.update(message[: shutil.get_terminal_size().columns - 4])
