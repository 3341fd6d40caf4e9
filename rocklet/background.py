"""Processes that commands leave in the background: when they end, and how, without anybody looking again and again.

A process whose parent has gone becomes the rocklet's own child, so that the rocklet, which reaps it, is told its exit
code by the kernel.  Of any other a descriptor tells the end, and its exit code is its parent's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable

from rock.wire.messages import ProcessEnd
from rocklet.memory import KILLED, OOM_REASON, OomCounter
from rocklet.waiting import wait_first

__all__ = ["Background"]

_KNOWN = 1024  # processes that are watched, a descriptor each while they run
_REMEMBERED = 4096  # exit codes of processes that nobody has asked about yet
_LARGEST_PID = 2**31 - 1


class _Process:
    """A process and, once it has come, its end."""

    def __init__(self, pid: int, ooms: int, on_end: Callable[[_Process], None]) -> None:
        self.pid = pid
        self.ooms = ooms
        """How many processes the kernel had killed for want of memory when this one was first seen."""
        self._loop = asyncio.get_running_loop()
        self.end: asyncio.Future[ProcessEnd] = self._loop.create_future()
        self._pidfd: int | None = None
        # Refused where it has ended and was reaped, and by a kernel (gVisor's) that has no pidfds.
        with contextlib.suppress(OSError):
            # This very process's, whoever gets its number later; readable once it has ended, reaped or not.
            self._pidfd = os.pidfd_open(pid)
            self._loop.add_reader(self._pidfd, on_end, self)

    @property
    def is_watched(self) -> bool:
        """Whether its end will be noticed by itself."""
        return self._pidfd is not None

    def tell(self, end: ProcessEnd) -> None:
        """Set its end."""
        self.let_go()
        self.end.set_result(end)

    def let_go(self) -> None:
        """Watch it no longer."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


class Background:
    """Watches the processes that commands have announced or callers ask about; the oldest go when there are too many.

    `may_reap` says of a process whether the rocklet reaps it here, if it is the rocklet's child at all.
    """

    def __init__(self, may_reap: Callable[[int], bool], ooms: OomCounter, *, limit: int = _KNOWN) -> None:
        self._may_reap = may_reap
        self._ooms = ooms
        self._limit = limit
        self._known: OrderedDict[int, _Process] = OrderedDict()  # oldest first, as the next
        self._exit_codes: OrderedDict[int, int] = OrderedDict()

    def announce(self, word: str, output: str) -> None:
        """Watch every process whose id stands right behind the word."""
        for found in re.finditer(rf"{re.escape(word)}([0-9]{{1,10}})", output):
            pid = int(found[1])
            known = self._known.get(pid)
            # Where both have ended it is the one that is known: numbers do not come again so soon.
            is_new = known is None or (known.end.done() and _is_running(pid))
            if is_new and 0 < pid <= _LARGEST_PID:
                self._watch(pid)

    async def wait(
        self, pid: int, hold: float, canceled: asyncio.Future[None], *, only_announced: bool = False
    ) -> ProcessEnd:
        """What became of a process, at its end or after `hold` seconds.

        With `only_announced` one that nobody has announced or asked about before is told of at once.
        """
        process = self._known.get(pid)
        if process is None and only_announced:
            return ProcessEnd(has_ended=not _is_running(pid))
        if process is None:
            process = self._watch(pid)
        self._known.move_to_end(pid)
        if not process.end.done() and not _is_running(pid):
            self._see_end(process)
        await wait_first(process.end, canceled, timeout=hold)
        return process.end.result() if process.end.done() else ProcessEnd(has_ended=False, is_watched=True)

    def reap(self, pid: int) -> None:
        """Take down how a process has ended, if it is one of ours and has."""
        with contextlib.suppress(ChildProcessError):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                returncode = os.waitstatus_to_exitcode(status)
                self._note(pid, returncode if returncode >= 0 else 128 - returncode)

    def close(self) -> None:
        """Let go of all."""
        for process in self._known.values():
            process.let_go()
        self._known.clear()

    def _watch(self, pid: int) -> _Process:
        process = self._known[pid] = _Process(pid, self._ooms.count(), self._see_end)
        if process.is_watched:
            self._exit_codes.pop(pid, None)  # of an earlier process of that number
        if not _is_running(pid):
            self._see_end(process)
        while len(self._known) > self._limit:
            _, oldest = self._known.popitem(last=False)
            oldest.let_go()  # and tell nobody an end that has not come
        return process

    def _see_end(self, process: _Process) -> None:
        """A process has ended; tell how, as far as that can be known."""
        if self._may_reap(process.pid):
            self.reap(process.pid)
        if not process.end.done():
            self._tell(process, self._exit_codes.pop(process.pid, None))

    def _note(self, pid: int, exit_code: int) -> None:
        process = self._known.get(pid)
        if process is not None and not process.end.done():
            self._tell(process, exit_code)
            return
        self._exit_codes[pid] = exit_code
        self._exit_codes.move_to_end(pid)
        if len(self._exit_codes) > _REMEMBERED:
            self._exit_codes.popitem(last=False)

    def _tell(self, process: _Process, exit_code: int | None) -> None:
        was_oom = exit_code == KILLED and self._ooms.count() > process.ooms
        reason = OOM_REASON if was_oom else ""
        process.tell(ProcessEnd(has_ended=True, exit_code=exit_code, failure_reason=reason, is_watched=True))


def _is_running(pid: int) -> bool:
    """Whether there is such a process and it is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return not file.read().rpartition(b")")[2].lstrip().startswith(b"Z")
    except OSError:
        return False
