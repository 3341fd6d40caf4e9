"""Who waits for which key to change: the one mechanism behind every blocking query."""

import asyncio
from collections.abc import Hashable, Iterable


class Watches:
    """Waiters by key.  A change costs the waiters of its keys and nobody else."""

    def __init__(self) -> None:
        self._waiters: dict[Hashable, set[asyncio.Future[None]]] = {}

    def waited(self) -> Iterable[Hashable]:
        """The keys somebody waits for now."""
        return tuple(self._waiters)

    def wake(self, keys: Iterable[Hashable]) -> None:
        """Wake whoever waits for one of the keys."""
        for key in keys:
            for waiter in self._waiters.pop(key, ()):
                if not waiter.done():
                    waiter.set_result(None)

    async def wait(self, key: Hashable) -> None:
        """Return once the key changed; the caller sets the deadline."""
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(key, set())
        waiters.add(waiter)
        try:
            await waiter
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiters.get(key) is waiters:
                del self._waiters[key]
