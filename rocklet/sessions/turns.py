"""Whose turn it is: first come, first served, and whoever has gone away is skipped."""

from __future__ import annotations

import asyncio
from collections import deque

from rocklet.waiting import wait_first

__all__ = ["Turns"]


class Turns:
    """A lock that is fair and whose waiters can be called off."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_taken(self) -> bool:
        """Whether somebody has the turn."""
        return self._taken

    async def take(self, canceled: asyncio.Future[None]) -> bool:
        """Wait for a turn; False if it was called off first, and then there is nothing to give back."""
        if canceled.done():
            return False
        if not self._taken:
            self._taken = True
            return True
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await wait_first(mine, canceled)
        except BaseException:
            self._leave(mine)
            raise
        if canceled.done():
            self._leave(mine)
            return False
        return True

    def give(self) -> None:
        """End a turn."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._taken = False

    def _leave(self, mine: asyncio.Future[None]) -> None:
        if mine.done():
            self.give()
        else:
            mine.cancel()
