"""What a sandbox is now: read from Nomad, asked of its rocklet, derived."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rock.wire.errors import ClusterUnavailable, RockException, SandboxUnreachable
from rock.wire.messages import Clocks, RockletEndpoint, SandboxStatus
from rock_nomad.config import ClusterProfile
from rock_nomad.gateway.errors import not_found, why_not
from rock_nomad.gateway.locator import Locator
from rock_nomad.gateway.rocklets import Rocklets, RockletUnreachable, StaleAddress
from rock_nomad.gateway.watcher import Watcher
from rock_nomad.isolation import ISOLATIONS
from rock_nomad.life import Life
from rock_nomad.names import job_id
from rock_nomad.nomad import Nomad
from rock_nomad.placement import Ask, Verdict, explain
from rock_nomad.records import Row, text
from rock_nomad.snapshot import Snapshot, is_ours
from rock_nomad.status import derive_status
from rock_nomad.sweep import overdue

__all__ = ["Observer", "Sighting"]

PROBE_TIMEOUT = 1.0  # seconds
LAST_WORD_WAIT = 5.0  # seconds for Nomad to say that a task has ended; some 300 ms, and what its commands take to end

_LIVE = frozenset({"pending", "running", "unknown"})
"""Of allocations that may have a rocklet: one whose node is cut off from Nomad can still answer us."""

_HERE = frozenset({"pending", "running"})
"""Of those, where Nomad hears from the node."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What Nomad said of one sandbox, all at about the same time."""

    job: Row
    allocations: Sequence[Row]
    evaluations: Sequence[Row]
    nodes: Sequence[Row] = ()
    """All there are, for a sandbox that could not be placed."""
    now: float
    """Unix seconds, by Nomad's clock."""

    @cached_property
    def life(self) -> Life:
        """The sandbox's life in it."""
        return Life.from_rows(self.job, self.allocations, self.evaluations)

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.life.job.meta.get("tenant", "")

    @property
    def has_rocklet(self) -> bool:
        """Whether there is anybody to ask but Nomad."""
        isolation = ISOLATIONS.get(self.life.job.meta.get("isolation", ""))
        return isolation is None or isolation.has_rocklet

    @property
    def is_live(self) -> bool:
        """Whether it is on a node, as far as Nomad knows."""
        place = self.life.allocation
        return place is not None and place.client_status in _LIVE

    @property
    def seems_to_run(self) -> bool:
        """Whether its rocklet may answer, as far as Nomad knows, which hears of a start a quarter of a second late."""
        place = self.life.allocation
        return self.has_rocklet and not self.life.is_over and place is not None and place.client_status in _HERE

    def alone(self, profile: ClusterProfile) -> Snapshot:
        """A snapshot of this sandbox and no other."""
        allocations = {text(self.job.get("ID")): self.allocations}
        return Snapshot(profile=profile, jobs=[self.job], allocations=allocations, now=self.now)

    def verdict(self, profile: ClusterProfile) -> Verdict | None:
        """What its failed placement comes to; None if it was placed, or never failed to be."""
        failed = self.life.failed_placement
        if failed is None:
            return None
        ask = Ask.from_job(self.job, self.life.job.spec)
        return explain(failed, ask, self.nodes, is_elastic=ask.node_pool in profile.elastic_pools)


class Observer:
    """Looks at one sandbox at a time."""

    def __init__(
        self, nomad: Nomad, locator: Locator, rocklets: Rocklets, watcher: Watcher, profile: ClusterProfile
    ) -> None:
        self._nomad, self._locator, self._rocklets = nomad, locator, rocklets
        self._watcher, self._profile = watcher, profile

    async def look(self, sandbox_id: str, *, tenant: str | None) -> Sighting:
        """What Nomad says of a tenant's sandbox; of anybody's in this cluster, if no tenant is named.

        Raises SandboxNotFound.
        """
        name = job_id(sandbox_id)
        job = await self._nomad.job(name)
        if job is None or not is_ours(job.data, self._profile):
            raise not_found(sandbox_id)
        if tenant is not None and job.data["Meta"].get("tenant") != tenant:
            raise not_found(sandbox_id)
        allocations = await self._allocations(job.data)
        evaluations = (await self._nomad.evaluations(name)).data
        # Only a sandbox that was not placed is explained by the nodes there are.
        is_short = not allocations and any(each.get("FailedTGAllocs") for each in evaluations)
        nodes = (await self._nomad.nodes()).data if is_short else []
        return Sighting(job=job.data, allocations=allocations, evaluations=evaluations, nodes=nodes, now=job.date)

    async def _allocations(self, job: Row) -> Sequence[Row]:
        """A job's allocations; whole, where there are devices to be told: a listing leaves them out."""
        listed = (await self._nomad.allocations(text(job["ID"]))).data
        if not Life.from_rows(job, listed, []).job.spec.gpus:
            return listed
        whole = [await self._nomad.allocation(text(each["ID"])) for each in listed]
        return [answer.data if answer else each for answer, each in zip(whole, listed, strict=True)]

    async def status(self, sandbox_id: str, sighting: Sighting, *, renew: bool = False) -> SandboxStatus:
        """The sandbox's status; the rocklet of a live one is asked, for a second at most, and told if it counts."""
        if not (sighting.is_live and sighting.has_rocklet) or sighting.life.is_over:
            return self._derive(sighting)
        try:
            endpoint, clocks = await self._probe(sighting.tenant, sandbox_id, renew=renew)
        except (ClusterUnavailable, SandboxUnreachable) as error:
            # Nomad knows the sandbox; where its rocklet is nobody says, or with which token.
            return self._derive(sighting, is_answering=False, silence=error.message)
        return self._derive(sighting, endpoint, clocks, is_answering=clocks is not None)

    def is_hopeless(self, sighting: Sighting) -> bool:
        """Whether a pending sandbox should be ended: it can never be placed, or has waited too long."""
        if overdue(sighting.alone(self._profile)):
            return True
        verdict = sighting.verdict(self._profile)
        return verdict is not None and verdict.kind != "busy"

    async def find_rocklet(self, tenant: str, sandbox_id: str) -> RockletEndpoint:
        """Where a rocklet is that answers.

        Raises NotReady, SandboxUnreachable, SandboxNotFound, and how it ended.
        """
        endpoint, _clocks = await self._probe(tenant, sandbox_id)
        if endpoint is None:
            raise await self.why_gone(tenant, sandbox_id)
        return endpoint

    async def answers(self, tenant: str, sandbox_id: str) -> bool:
        """Whether the sandbox's rocklet answers."""
        try:
            _endpoint, clocks = await self._probe(tenant, sandbox_id)
        except SandboxUnreachable:
            return False
        return clocks is not None

    async def why_gone(self, tenant: str, sandbox_id: str) -> RockException:
        """The error that says why a sandbox's rocklet cannot be talked to, by Nomad's word.

        Nomad hears later of a rocklet's end than whoever was talking to it, so one that seems to run is given a moment.
        """
        with self._watcher.subscribe(job_id(sandbox_id)) as news:
            try:
                sighting = await self.look(sandbox_id, tenant=tenant)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORD_WAIT):
                        while sighting.seems_to_run:
                            await news.changed()
                            sighting = await self.look(sandbox_id, tenant=tenant)
            except RockException as error:
                return error
        return why_not(self._derive(sighting, is_answering=False))

    def _derive(
        self,
        sighting: Sighting,
        endpoint: RockletEndpoint | None = None,
        clocks: Clocks | None = None,
        *,
        is_answering: bool | None = None,
        silence: str = "",
    ) -> SandboxStatus:
        return derive_status(
            sighting.job,
            sighting.allocations,
            sighting.evaluations,
            nodes=sighting.nodes,
            elastic_pools=self._profile.elastic_pools,
            clocks=clocks,
            endpoint=endpoint,
            is_answering=is_answering,
            silence=silence,
            now=sighting.now,
        )

    async def _probe(
        self, tenant: str, sandbox_id: str, *, renew: bool = False
    ) -> tuple[RockletEndpoint | None, Clocks | None]:
        """Where the rocklet is and what its clocks say; neither, where nobody answers in time.

        Raises ClusterUnavailable; SandboxUnreachable: this gateway lacks the secret that its token was made from.
        """
        known = self._locator.known(tenant, sandbox_id)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                if known is not None and (clocks := await self._clocks(tenant, known, renew=renew)) is not None:
                    return known, clocks
                found = await self._locator.find(tenant, sandbox_id)
                if found is not None and (clocks := await self._clocks(tenant, found, renew=renew)) is not None:
                    return found, clocks
        except TimeoutError:
            if known is not None:
                self._locator.forget(tenant, known)
        return None, None

    async def _clocks(self, tenant: str, endpoint: RockletEndpoint, *, renew: bool) -> Clocks | None:
        """What the rocklet's clocks say; None if it is not there, and then its address is not used again."""
        try:
            return await self._rocklets.clocks(endpoint, renew=renew)
        except (RockletUnreachable, StaleAddress):
            self._locator.forget(tenant, endpoint)
            return None
