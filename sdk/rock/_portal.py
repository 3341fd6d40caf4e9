"""One event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run", "run_until_complete"]

_T = TypeVar("_T")

_EXIT_TIMEOUT = 5.0  # seconds that what is under way may take to end at exit


class _Portal:
    """A process's loop; its thread starts with the first call and ends with the process."""

    def __init__(self) -> None:
        self._start_lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The outcome of some work, from whichever thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C reaches the caller's thread: the call ends as a cancelled one does
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._start_lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._serve, args=(self._loop,), name="rock", daemon=True)
                thread.start()
                atexit.register(self._stop, os.getpid(), self._loop, thread)
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        if under_way := asyncio.all_tasks(loop):  # a call cancelled by Ctrl-C still ends its command
            loop.run_until_complete(asyncio.wait(under_way, timeout=_EXIT_TIMEOUT))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    @staticmethod
    def _stop(pid: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        if pid == os.getpid():  # a forked child has no such thread
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_EXIT_TIMEOUT)


_PORTALS: dict[int, _Portal] = {}
"""By process id: a forked child makes its own, and never meets its parent's lock."""


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """The outcome of some work that only an event loop can do."""
    portal = _PORTALS.get(os.getpid()) or _PORTALS.setdefault(os.getpid(), _Portal())
    return portal.run(work)


def run_until_complete(coro: Coroutine[Any, Any, _T]) -> _T:
    """The same under ROCK's name: for callers without a loop, and for those who would block their own."""
    return run(coro)
