"""Servers as processes: started, asked for a first command, ended.  A bare one, a rocklet, a peer's."""

from __future__ import annotations

import asyncio
import contextlib
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Program", "Running"]

_LISTENING = re.compile(rb"(?:listens on.* port |running on http://127\.0\.0\.1:)(\d+)")
_LOG_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that listens."""

    url: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class Program:
    """A server that can be started.  It says on its stderr where it listens."""

    name: str
    command: Sequence[str]
    first_command: Callable[[str], Awaitable[object]]
    """Has a session made by the server at an address, and a command run in it."""
    environment: Mapping[str, str] | None = None
    """None: this process's."""

    @contextlib.asynccontextmanager
    async def start(self) -> AsyncIterator[Running]:
        """Run it, from when it listens until the block ends."""
        # What it logs is kept by the pipe's reader, which nobody need then read.
        process = await asyncio.create_subprocess_exec(
            *self.command, env=self.environment, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, limit=_LOG_BYTES
        )
        try:
            yield Running(url=f"http://127.0.0.1:{await _read_port(process)}", pid=process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _read_port(process: Process) -> int:
    assert process.stderr is not None
    said = b""
    while line := await process.stderr.readline():
        said += line
        if found := _LISTENING.search(line):
            return int(found[1])
    raise AssertionError(f"it ended with {await process.wait()}: {said.decode(errors='replace')}")
