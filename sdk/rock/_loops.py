"""What belongs to one event loop, and ends with it: an HTTP session and the tasks that work behind a call's back.

Callers start a fresh loop per call (`asyncio.run`), in many threads, and fork: nothing here may outlive its loop or be
found by another.  So it hangs on the loop object itself, and closes through an async generator, because a loop that
ends properly finalises those (`asyncio.run` does) and asks for nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import aiohttp

__all__ = ["LoopState", "of_running_loop"]

log = logging.getLogger(__name__)

_KEY = "_rock_loop_state"
_CONNECT_TIMEOUT = 10.0  # seconds; a call may ask for less
_KEEPALIVE = {
    "TCP_KEEPIDLE": 15,  # seconds of silence before the first probe
    "TCP_KEEPINTVL": 5,  # seconds between probes
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,  # milliseconds that what was sent may stay unacknowledged
}


class LoopState:
    """One loop's HTTP session and background tasks."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.is_closed = False
        self.session = aiohttp.ClientSession(
            # No limit: a trainer runs thousands of commands at once.
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_open_socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self.tasks: dict[object, asyncio.Task[Any]] = {}
        """What works in the background now, by its key."""
        self._keeper = self._close_with_loop()

    async def open(self) -> None:
        """Have the loop close this when it ends."""
        await self._keeper.__anext__()

    def start(self, key: object, work: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        """Do some work in the background, unless the same, by its key, is being done."""
        task = self.tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(work(), name=f"rock {key}")
            self.tasks[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return task

    def _forget(self, key: object, done: asyncio.Task[Any]) -> None:
        del self.tasks[key]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.debug("%s failed: %s", done.get_name(), error)

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.is_closed = True
            tasks = list(self.tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.session.close()
            await asyncio.sleep(0)  # transports tell their protocols so in the loop's next turn


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices a peer that has vanished, also while a command without a time limit says nothing."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # they are Linux's
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return opened


async def of_running_loop() -> LoopState:
    """The running loop's state, made at its first use."""
    attributes = vars(asyncio.get_running_loop())
    state: LoopState | None = attributes.get(_KEY)
    # A forked child that goes on with its parent's loop object must not use its parent's sockets.
    if state is None or state.is_closed or state.pid != os.getpid():
        state = attributes[_KEY] = LoopState()
        await state.open()
    return state
