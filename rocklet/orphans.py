"""Processes that commands have left behind: when they end, and how.

A process whose parent has gone becomes the rocklet's own child, so that the rocklet, which reaps it, is told its exit
code by the kernel, without anybody looking again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict

__all__ = ["Orphans"]

_REMEMBERED = 4096  # exit codes of processes that nobody has asked about yet


class Orphans:
    """The exit codes of processes that were adopted and have ended, and who waits for others."""

    def __init__(self) -> None:
        self._exit_codes: OrderedDict[int, int] = OrderedDict()  # oldest first
        self._waiters: dict[int, set[asyncio.Future[None]]] = {}

    def reap(self, pid: int) -> None:
        """Take down how a process has ended, if it is one of ours and has."""
        with contextlib.suppress(ChildProcessError):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._note(pid, os.waitstatus_to_exitcode(status))

    def _note(self, pid: int, returncode: int) -> None:
        self._exit_codes[pid] = returncode if returncode >= 0 else 128 - returncode
        self._exit_codes.move_to_end(pid)
        if len(self._exit_codes) > _REMEMBERED:
            self._exit_codes.popitem(last=False)
        for waiter in self._waiters.get(pid, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, pid: int, timeout: float, *, may_reap: bool) -> tuple[bool, int | None]:  # noqa: ASYNC109
        """Whether a process has ended, after `timeout` seconds at most; its exit code, where that is known.

        The code is as a shell tells it: 128 + n after signal n.  It is known of orphans alone; `may_reap` says whether
        the process may be one.
        """
        if not _is_there(pid):
            return True, self._exit_codes.get(pid)
        self._exit_codes.pop(pid, None)  # of an earlier process of that number
        async with _Exit(pid) as exit_:
            waiters = self._waiters.setdefault(pid, set())
            waiters.add(exit_.seen)
            try:
                await asyncio.wait([exit_.seen], timeout=timeout)
            finally:
                waiters.discard(exit_.seen)
                if not waiters:
                    self._waiters.pop(pid, None)
        if not exit_.seen.done():
            return False, None
        if may_reap:
            self.reap(pid)
        return True, self._exit_codes.get(pid)


class _Exit:
    """The end of a process, whoever is its parent, as a future."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._pidfd: int | None = None
        self._loop = asyncio.get_running_loop()
        self.seen: asyncio.Future[None] = self._loop.create_future()

    async def __aenter__(self) -> _Exit:
        try:
            self._pidfd = os.pidfd_open(self._pid)
        except ProcessLookupError:
            self.seen.set_result(None)
        except OSError:
            return self  # gVisor has no pidfds: the reaping of an orphan tells all the same
        else:
            self._loop.add_reader(self._pidfd, self._see)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._let_go()

    def _see(self) -> None:
        self._let_go()
        if not self.seen.done():
            self.seen.set_result(None)

    def _let_go(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
