"""The replica's one ear on Nomad: whoever waits for a sandbox hears from here that something happened to it.

Nothing is kept that could be out of date: news only says "look again".  So a gap in the stream is mended by telling
everybody once, which is what happens whenever the stream has been opened anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from rock_nomad.gateway.event_stream import PAUSE, EventStream
from rock_nomad.nomad import Event, Nomad
from rock_nomad.records import allocations_of

__all__ = ["News", "Watcher"]

TOPICS = ("Job", "Allocation")
"""Not Evaluation: whenever something stops Nomad tries all that waits again, and each failure would be an event."""


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
        self._stream = EventStream(nomad, TOPICS, pause=pause)
        self.replaced: asyncio.Queue[str] = asyncio.Queue()
        """Jobs, ours or not, of which Nomad starts another allocation in the stead of one."""
        self._waiters: dict[str, set[News]] = {}

    @contextlib.contextmanager
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
        """Read the stream for ever."""
        async with contextlib.aclosing(self._stream.follow()) as batches:
            async for batch in batches:
                if batch is None:
                    # What happened before the stream was open may have been missed.
                    self._tell_everybody()
                    continue
                for event in batch.events:
                    self._pass_on(event)
        raise AssertionError("the stream has no end")

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
