"""The one periodic duty, on every replica: end what waited or was lost too long, say once how each sandbox
ended, take away credentials that have served.

What is overdue is decided by a pure function, by Nomad's clock; acting on it twice is the same as once, so there is no
leader.  What cannot wait for the next sweep is attended to at once: a sandbox that Nomad is about to start anew, empty.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from rock.wire.errors import RockException
from rock.wire.messages import SandboxStatus
from rock_nomad.config import ClusterProfile
from rock_nomad.credentials import Credentials
from rock_nomad.life import Life
from rock_nomad.nomad import Nomad
from rock_nomad.records import Row, integer, mapping, text
from rock_nomad.snapshot import Snapshot, add_evaluations, is_ours, take_snapshot

__all__ = ["Answers", "Cause", "Overdue", "Sweep", "overdue"]

LOOK_BACK = 60.0  # seconds; ends older than that were said by a replica that lived then
AT_ONCE = 16  # deregistrations

log = logging.getLogger(__name__)

Answers = Callable[[str, str], Awaitable[bool]]
"""Whether the rocklet of a tenant's sandbox answers; (tenant, sandbox_id)."""


class Cause(Enum):
    """Which of its times a sandbox has outstayed."""

    STARTUP = "it did not start within its startup timeout"
    NODE_LOST = "its node has been gone for too long"
    REPLACED = "it was taken from its node, and nomad would start an empty one in its stead"


@dataclass(frozen=True, kw_only=True, slots=True)
class Overdue:
    """A sandbox to be ended."""

    sandbox_id: str
    job_id: str
    tenant: str
    cause: Cause


def overdue(snapshot: Snapshot) -> list[Overdue]:
    """Which sandboxes are to be ended, by Nomad's clock."""
    found = []
    for job in snapshot.jobs:
        job_id = text(job.get("ID"))
        cause = _cause(job, snapshot.allocations.get(job_id, ()), snapshot.now, snapshot.profile)
        if cause is not None:
            meta = mapping(job.get("Meta"))
            sandbox_id, tenant = text(meta.get("sandbox_id")), text(meta.get("tenant"))
            found.append(Overdue(sandbox_id=sandbox_id, job_id=job_id, tenant=tenant, cause=cause))
    return found


def _cause(job: Row, allocations: Sequence[Row], now: float, profile: ClusterProfile) -> Cause | None:
    life = Life.from_rows(job, allocations, [])
    place = life.allocation
    if life.is_supplanted:
        return Cause.REPLACED
    if life.is_over:
        return None
    if place is None or place.client_status == "pending":
        deadline = life.startup_deadline
        return Cause.STARTUP if deadline is not None and now > deadline else None
    if place.client_status == "unknown":
        # A listing does not say since when; nothing else can have changed it meanwhile.
        since = max(integer(each.get("ModifyTime")) for each in allocations if each.get("ID") == place.id) / 1e9
        return Cause.NODE_LOST if now > since + profile.node_lost_after else None
    return None


class Sweep:
    """Looks over every sandbox of the cluster once in a while."""

    def __init__(self, nomad: Nomad, profile: ClusterProfile, answers: Answers, replaced: asyncio.Queue[str]) -> None:
        """`replaced` brings the jobs of which Nomad starts another allocation in the stead of one."""
        self._nomad, self._profile, self._answers, self._replaced = nomad, profile, answers, replaced
        self._credentials = Credentials(nomad)
        self._ended: set[str] | None = None
        self._cut_off: set[str] = set()
        self.ends: Counter[str] = Counter()
        """How many ended for which reason, since this replica started."""

    async def run(self) -> NoReturn:
        """Sweep for ever."""
        async with asyncio.TaskGroup() as duties:
            duties.create_task(self._attend_for_ever(), name="attend")
            await self._sweep_for_ever()

    async def _attend_for_ever(self) -> NoReturn:
        while True:
            job_id = await self._replaced.get()
            try:
                snapshot = await self._read(job_id)
            except RockException as error:
                log.warning("%s needs a look, which the next sweep takes: %s", job_id, error)
                continue
            for each in overdue(snapshot):
                await self._end(each)

    async def _sweep_for_ever(self) -> NoReturn:
        while True:
            # Spread over the replicas, and over time.
            await asyncio.sleep(self._profile.sweep_interval * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self.sweep()
            except RockException as error:
                log.warning("this sweep was cut short, the next one goes on: %s", error)

    async def sweep(self) -> None:
        """Look once.

        Raises ClusterUnavailable: the next sweep will find the same and more.
        """
        snapshot = await take_snapshot(self._nomad, self._profile)
        # In a thread, so that thousands of sandboxes do not hold up everybody's actions.
        late = await asyncio.to_thread(overdue, snapshot)
        self._cut_off &= {each.sandbox_id for each in late}
        gate = asyncio.Semaphore(AT_ONCE)

        async def end(each: Overdue) -> None:
            async with gate:
                await self._end(each)

        async with asyncio.TaskGroup() as ends:
            for each in late:
                ends.create_task(end(each), name=f"end {each.sandbox_id}")
        await self._record(snapshot)
        await self._credentials.tidy(snapshot)

    async def _end(self, listed: Overdue) -> None:
        """End one, if it still is overdue when read again; what goes wrong is left to the next sweep."""
        try:
            if not await self._is_still(listed):
                return
            await self._nomad.stop(listed.job_id)
        except RockException as error:
            log.warning("sandbox %s is to be ended, but not yet: %s", listed.sandbox_id, error)
        else:
            log.info("sandbox %s is ended: %s", listed.sandbox_id, listed.cause.value)

    async def _is_still(self, listed: Overdue) -> bool:
        if listed not in overdue(await self._read(listed.job_id)):
            return False
        if listed.cause is not Cause.NODE_LOST or not await self._answers(listed.tenant, listed.sandbox_id):
            return True
        if listed.sandbox_id not in self._cut_off:
            self._cut_off.add(listed.sandbox_id)
            log.warning("sandbox %s lives on, cut off from nomad: its node is disconnected", listed.sandbox_id)
        return False

    async def _read(self, job_id: str) -> Snapshot:
        """One sandbox as it is now; nothing, if there is no such sandbox of this cluster."""
        job = await self._nomad.job(job_id)
        if job is None or not is_ours(job.data, self._profile):
            return Snapshot(profile=self._profile, jobs=[], now=0.0)
        allocations = {job_id: (await self._nomad.allocations(job_id)).data}
        return Snapshot(profile=self._profile, jobs=[job.data], allocations=allocations, now=job.date)

    async def _record(self, snapshot: Snapshot) -> None:
        """Say of each sandbox once that, and why, it ended: Nomad forgets it after some hours.

        Every replica says it, so a replica's death loses nothing; the sandbox's id makes them one.
        """
        # One that was stopped while its node was gone is not called dead before the node returns.
        over = {text(job.get("ID")): job for job in snapshot.jobs if job.get("Status") == "dead" or job.get("Stop")}
        before = self._ended
        fresh = [over[job_id] for job_id in over.keys() - (before or set())]
        explained = await add_evaluations(self._nomad, snapshot, fresh)
        self._ended = set(over)
        for status in map(explained.status, fresh):
            # A replica that has just begun says what ended of late, and leaves the rest to those that lived then.
            if before is not None or (status.stopped_at or 0.0) > snapshot.now - LOOK_BACK:
                self._say(status)

    def _say(self, status: SandboxStatus) -> None:
        reason = status.reason.value if status.reason is not None else "unknown"
        self.ends[reason] += 1
        log.info(
            "sandbox %s of tenant %s ended: %s (%d so far)", status.sandbox_id, status.tenant, reason, self.ends[reason]
        )
