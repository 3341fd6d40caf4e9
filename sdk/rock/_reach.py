"""Which hosts this process can reach directly.

Kept per host and not per sandbox: a firewall or a missing route treats all rocklets of a host alike, and a process that
makes a thousand sandboxes should find out once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["HOSTS", "Reach"]

_FORGET_AFTER = 30.0  # seconds until a host that could not be reached is tried again


class Reach:
    """What is known about each host.  Assignments only, so threads need no lock; a forked child has a copy."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._verdicts: dict[str, tuple[bool, float]] = {}

    def verdict(self, host: str) -> bool | None:
        """Whether a host can be reached; None where that is not known, or was no so long ago that it may be yes."""
        is_reachable, at = self._verdicts.get(host, (None, 0.0))
        if is_reachable is False and self._now() - at > _FORGET_AFTER:
            return None
        return is_reachable

    def learn(self, host: str, *, is_reachable: bool) -> None:
        """Remember what an attempt has shown."""
        self._verdicts[host] = (is_reachable, self._now())


HOSTS = Reach()
"""What this process has learnt."""
