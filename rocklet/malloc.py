"""How much freed memory stays with the process: enough for the next large reply, and no more.

What the rocklet holds is taken from its sandbox, which may have little.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

__all__ = ["FreedMemory"]

_KEPT = 16 * 2**20  # bytes: a session's 5 MB of output, as bytes, as text and as JSON
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of <malloc.h>
_LOOK_INTERVAL = 5.0  # seconds


class FreedMemory:
    """The bounds that malloc is told, once for the process.

    Of itself it gives each megabyte back once it is free, and the pages of the next one cost 1.3 ms: ten times what it
    takes to copy something there.  Told to keep it, it also keeps the holes between what is in use, which after a crowd
    of large replies are nearly all that it has: those go back in `give_back`.
    """

    def __init__(self) -> None:
        import ctypes  # 5 ms, which a bad setting need not wait for

        libc = ctypes.CDLL(None)
        self._trim: Callable[[int], int] | None = getattr(libc, "malloc_trim", None)  # musl has none, and no options
        if self._trim is not None:
            libc.mallopt(_M_ARENA_MAX, 1)  # or each thread has one, with bounds of its own
            libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
            libc.mallopt(_M_MMAP_THRESHOLD, _KEPT)

    async def give_back(self) -> None:
        """Give back what is not in use, for as long as the process has much more than now; until it is canceled."""
        least = _resident_bytes()
        while self._trim is not None:
            await asyncio.sleep(_LOOK_INTERVAL)
            if _resident_bytes() > least + 2 * _KEPT:
                await asyncio.to_thread(self._trim, _KEPT)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
