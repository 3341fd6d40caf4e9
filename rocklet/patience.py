"""How long a command may go on."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from rocklet.waiting import wait_first

__all__ = ["Patience"]


class Patience:
    """A limit to how long something runs, and one to how long it prints nothing, in seconds; None: no limit.

    Both run from now, the second one anew whenever something is heard.
    """

    def __init__(self, timeout: float | None, silence_timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._heard = self._loop.time()
        self._timeout = timeout
        self._silence_timeout = silence_timeout

    def hear(self) -> None:
        """Something was printed."""
        self._heard = self._loop.time()

    async def wait(self, *futures: asyncio.Future[Any]) -> str:
        """Wait until one of the futures is done; empty then, or else which of the limits was reached, in words."""
        end, words = self._end()
        while True:
            left = None if end == math.inf else max(end - self._loop.time(), 0.0)
            if await wait_first(*futures, timeout=left):
                return ""
            end, words = self._end()
            if end <= self._loop.time():
                return words

    def _end(self) -> tuple[float, str]:
        """When it is over if nothing more is heard, and why."""
        ends = [(math.inf, "")]
        if self._timeout is not None:
            ends.append((self._began + self._timeout, f"timed out after {self._timeout:g} s"))
        if self._silence_timeout is not None:
            ends.append((self._heard + self._silence_timeout, f"printed nothing for {self._silence_timeout:g} s"))
        return min(ends)
