"""Processes that commands have announced, so that callers can wait for their end without asking again and again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import OrderedDict

from rock.wire.messages import ProcessState

__all__ = ["Announced"]

_LIMIT = 256  # processes, each a descriptor


class _Process:
    """A process and its end.  The descriptor is this very process's, whoever gets its id later."""

    def __init__(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._pidfd = os.pidfd_open(pid)
        # Readable from the moment at which it ends, reaped or not.
        loop.add_reader(self._pidfd, self.forget)

    def forget(self) -> None:
        """Watch no longer; whoever waits is told."""
        if not self.ended.done():
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self.ended.set_result(None)


class Announced:
    """Watches processes by what commands print of them; the oldest go when there are too many."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._processes: OrderedDict[int, _Process] = OrderedDict()

    def note(self, word: str, output: str) -> None:
        """Watch every process whose id stands right behind the word.  One that has ended by now is known as such."""
        for found in re.finditer(rf"{re.escape(word)}([0-9]{{1,10}})", output):
            pid = int(found[1])
            self._drop(pid)
            # Ended and reaped, a number that is no id, or a kernel (gVisor's) that has no pidfds.
            with contextlib.suppress(OSError, OverflowError):
                self._processes[pid] = _Process(pid)
        while len(self._processes) > self._limit:
            self._drop(next(iter(self._processes)))

    async def wait(self, pid: int, hold: float, canceled: asyncio.Future[None]) -> ProcessState:
        """What became of a process, at its end or after `hold` seconds; at once for one that is not watched."""
        process = self._processes.get(pid)
        if process is None:
            return ProcessState(announced=False, running=_is_there(pid))
        await asyncio.wait((process.ended, canceled), timeout=hold, return_when=asyncio.FIRST_COMPLETED)
        return ProcessState(announced=True, running=not process.ended.done())

    def close(self) -> None:
        """Let go of all."""
        while self._processes:
            self._drop(next(iter(self._processes)))

    def _drop(self, pid: int) -> None:
        process = self._processes.pop(pid, None)
        if process is not None:
            process.forget()


def _is_there(pid: int) -> bool:
    """Whether there is such a process and it is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return not file.read().rpartition(b")")[2].lstrip().startswith(b"Z")
    except OSError:
        return False
