"""The replica's one ear on Nomad: whoever waits for a sandbox hears from here that something happened to it.

Nothing is kept that could be out of date: news only says "look again".  So a gap in the stream is mended by telling
everybody once, which is what happens whenever the stream has been opened anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from rock.wire.errors import ClusterUnavailable
from rock_nomad.nomad import Event, Nomad
from rock_nomad.records import allocations_of

__all__ = ["News", "Watcher"]

TOPICS = ("Job", "Allocation")
"""Not Evaluation: whenever something stops Nomad tries all that waits again, and each failure would be an event."""

PAUSE = 0.1  # seconds, at first, between attempts to open the stream
MOST_PAUSES = 50  # a failing Nomad is asked this much less often at last

log = logging.getLogger(__name__)


class News:
    """What one waiter has been told about one job, and not yet acted upon."""

    def __init__(self) -> None:
        self._placed = asyncio.Event()
        self._changed = asyncio.Event()

    def tell(self, *, changed: bool = True) -> None:
        """Wake who waits; `changed=False` says that the job was placed and no more."""
        self._placed.set()
        if changed:
            self._changed.set()

    async def placed(self) -> None:
        """Wait until an allocation exists, or more has happened."""
        await self._placed.wait()
        self._clear()

    async def changed(self) -> None:
        """Wait until an allocation has started or ended, or the job was stopped."""
        await self._changed.wait()
        self._clear()

    def changed_nowait(self) -> bool:
        """Whether `changed` would return at once; if so, it is over with."""
        has_changed = self._changed.is_set()
        if has_changed:
            self._clear()
        return has_changed

    def _clear(self) -> None:
        self._placed.clear()
        self._changed.clear()


class Watcher:
    """Reads Nomad's event stream once for all who wait."""

    def __init__(self, nomad: Nomad, *, pause: float = PAUSE) -> None:
        self._nomad, self._pause = nomad, pause
        self.replaced: asyncio.Queue[str] = asyncio.Queue()
        """Jobs, ours or not, of which Nomad starts another allocation in the stead of one."""
        self._waiters: dict[str, set[News]] = {}
        self._index = 0

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[News]:
        """News of a job, from now on.  Subscribe first and look then, and nothing is missed."""
        news = News()
        self._waiters.setdefault(job_id, set()).add(news)
        try:
            yield news
        finally:
            waiters = self._waiters[job_id]
            waiters.discard(news)
            if not waiters:
                del self._waiters[job_id]

    async def run(self) -> NoReturn:
        """Read the stream for ever; opened anew whenever it ends."""
        pause = self._pause
        while True:
            try:
                await self._read()
                log.info("nomad closed the event stream at index %d", self._index)
                pause = self._pause
            except ClusterUnavailable as error:
                log.warning("the event stream was lost at index %d: %s", self._index, error)
                pause = min(pause * 2, self._pause * MOST_PAUSES)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads replicas, guards nothing

    async def _read(self) -> None:
        is_open = False
        async for batch in self._nomad.events(TOPICS, index=self._index):
            if not is_open:
                # What happened before the stream was open may have been missed.
                is_open = True
                self._tell_everybody()
            self._index = max(self._index, batch.index)
            for event in batch.events:
                self._pass_on(event)

    def _tell_everybody(self) -> None:
        for waiters in self._waiters.values():
            for news in waiters:
                news.tell()

    def _pass_on(self, event: Event) -> None:
        job_id = job_of(event)
        if is_replacement(event):
            self.replaced.put_nowait(job_id)
        if job_id not in self._waiters:
            return
        changed = is_change(event)
        if changed or event.topic == "Allocation":
            for news in self._waiters[job_id]:
                news.tell(changed=changed)


def job_of(event: Event) -> str:
    """The job that an event is about, or an empty string."""
    if event.topic == "Job":
        return event.key
    return str(_payload(event).get("JobID", ""))


def is_change(event: Event) -> bool:
    """Whether an event is worth a new look at the sandbox: most are Nomad's own steps on the way."""
    if event.topic == "Allocation":
        payload = _payload(event)
        return payload.get("ClientStatus") != "pending" or payload.get("DesiredStatus") != "run"
    return event.type in {"JobDeregistered", "JobBatchDeregistered"}


def is_replacement(event: Event) -> bool:
    """Whether an event says that Nomad starts another allocation in the stead of this one."""
    if event.topic != "Allocation" or _payload(event).get("DesiredStatus") == "run":
        return False
    return any(each.is_replaced for each in allocations_of([_payload(event)]))


def _payload(event: Event) -> Mapping[str, Any]:
    payload = event.payload.get(event.topic)
    return payload if isinstance(payload, Mapping) else {}
