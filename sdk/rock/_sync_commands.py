"""Commands that run by themselves, for callers without an event loop."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rock import _portal

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rock._commands import CommandOptions, Commands, OutputPiece, RunningCommand
    from rock.wire.commands import CommandStatus

__all__ = ["SyncCommands", "SyncRunningCommand"]


class SyncRunningCommand:
    """`RunningCommand` with calls that block; iterating over it waits for what the command prints next."""

    def __init__(self, command: RunningCommand) -> None:
        self._command = command

    def __repr__(self) -> str:
        return f"Sync{self._command!r}"

    @property
    def command_id(self) -> str:
        """Its id."""
        return self._command.command_id

    @property
    def status(self) -> CommandStatus:
        """As it was told last."""
        return self._command.status

    @property
    def cursor(self) -> int:
        """How many bytes of its output have come; `SyncCommands.attach` takes it, in another process, too."""
        return self._command.cursor

    @property
    def exit_code(self) -> int | None:
        """As `RunningCommand.exit_code`."""
        return self._command.exit_code

    def __iter__(self) -> Generator[OutputPiece, None, None]:
        return self.follow()

    def follow(self, *, wait: bool = True) -> Generator[OutputPiece, None, None]:
        """As `RunningCommand.follow`."""
        pieces = self._command.follow(wait=wait)

        async def take() -> OutputPiece | None:
            return await anext(pieces, None)

        try:
            while (piece := _portal.run(take())) is not None:
                yield piece
        finally:
            _portal.run(pieces.aclose())

    def wait(self, timeout: float | None = None) -> CommandStatus:
        """As `RunningCommand.wait`."""
        return _portal.run(self._command.wait(timeout))

    def write(self, data: bytes | str) -> None:
        """As `RunningCommand.write`."""
        _portal.run(self._command.write(data))

    def close_stdin(self) -> None:
        """As `RunningCommand.close_stdin`."""
        _portal.run(self._command.close_stdin())

    def signal(self, number: int) -> None:
        """As `RunningCommand.signal`."""
        _portal.run(self._command.signal(number))

    def close(self) -> None:
        """As `RunningCommand.close`."""
        _portal.run(self._command.close())


class SyncCommands:
    """`Commands` with calls that block.

    with sandbox.commands.stream("make -j8") as make:
        for piece in make:
            print(piece.text, end="")
    print(make.exit_code)
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def start(self, command: str | Sequence[str], **options: Unpack[CommandOptions]) -> SyncRunningCommand:
        """As `Commands.start`."""
        return SyncRunningCommand(_portal.run(self._commands.start(command, **options)))

    @contextmanager
    def stream(self, command: str | Sequence[str], **options: Unpack[CommandOptions]) -> Iterator[SyncRunningCommand]:
        """As `Commands.stream`."""
        running = self._commands.stream(command, **options)
        yielded = SyncRunningCommand(_portal.run(running.__aenter__()))
        try:
            yield yielded
        finally:
            _portal.run(running.__aexit__(None, None, None))

    def attach(self, command_id: str, *, cursor: int = 0) -> SyncRunningCommand:
        """As `Commands.attach`."""
        return SyncRunningCommand(_portal.run(self._commands.attach(command_id, cursor=cursor)))

    def list(self) -> list[SyncRunningCommand]:
        """As `Commands.list`."""
        return [SyncRunningCommand(command) for command in _portal.run(self._commands.list())]
