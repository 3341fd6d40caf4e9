"""Nomad's event stream without end: opened anew where it broke off, and honest about what may be missing."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Sequence

from rock.wire.errors import ClusterUnavailable
from rock_nomad.nomad import EventBatch, Nomad

__all__ = ["PAUSE", "EventStream"]

PAUSE = 0.1  # seconds, at first, between attempts to open the stream
MOST_PAUSES = 50  # a failing Nomad is asked this much less often at last

log = logging.getLogger(__name__)


class EventStream:
    """The events of some topics, each batch once.

    Opened at an index Nomad begins with the batch of that very index, if it still has it: a server keeps only so many
    (`event_buffer_size`) and tells nobody what it has dropped.  So the batch that comes first tells: if it is the last
    one that was seen, nothing is missing.
    """

    def __init__(self, nomad: Nomad, topics: Sequence[str], *, pause: float = PAUSE) -> None:
        self._nomad, self._topics, self._pause = nomad, topics, pause
        self.index = 0
        """Of the last batch that was seen."""
        self.gaps = 0
        """How often something was missing."""

    async def follow(self) -> AsyncGenerator[EventBatch | None, None]:
        """Batches of events, for ever; None says that the stream was opened, and that the state may have changed."""
        pause = self._pause
        while True:
            try:
                async for batch in self._read():
                    pause = self._pause
                    yield batch
                log.info("nomad closed the event stream at index %d", self.index)
            except ClusterUnavailable as error:
                log.warning("the event stream was lost at index %d: %s", self.index, error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads replicas, guards nothing
            pause = min(pause * 2, self._pause * MOST_PAUSES)

    async def _read(self) -> AsyncGenerator[EventBatch | None, None]:
        """What comes until the stream is lost."""
        resumed_at, is_open = self.index, False
        async for batch in self._nomad.events(self._topics, index=resumed_at):
            if not is_open:
                is_open = True
                yield None
            if not batch.events:
                continue  # a heartbeat
            if resumed_at and batch.index > resumed_at:
                self.gaps += 1
                log.warning(
                    "nomad has dropped events between index %d and %d; raise the servers' event_buffer_size",
                    resumed_at,
                    batch.index,
                )
            resumed_at = 0
            if batch.index > self.index:
                self.index = batch.index
                yield batch
