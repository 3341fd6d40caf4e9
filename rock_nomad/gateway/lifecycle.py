"""The life of one sandbox: create, get, stop, delete, and where its rocklet is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from rock.wire.errors import ClusterUnavailable, IdInUse, InvalidRequest, SandboxNotFound
from rock.wire.messages import CreateSandboxRequest, Empty, GetSandboxRequest, RockletEndpoint, SandboxStatus, State
from rock.wire.spec import Registry
from rock_nomad.credentials import Credentials
from rock_nomad.gateway.calls import Call
from rock_nomad.gateway.errors import why_not
from rock_nomad.gateway.observer import Observer, Sighting
from rock_nomad.gateway.readiness import Readiness
from rock_nomad.gateway.renderer import Renderer
from rock_nomad.gateway.watcher import News, Watcher
from rock_nomad.jobspec import reads_credentials
from rock_nomad.names import job_id
from rock_nomad.nomad import JobExists, Nomad, Registration
from rock_nomad.records import integer

__all__ = ["Lifecycle"]

EVALUATION_WAIT = 2.0  # seconds for Nomad's first word; it takes some 20 ms
MOMENT = 0.25  # seconds
OUTAGE_PAUSE = 1.0  # seconds before a cluster that does not answer is asked again
ABANDON_TIMEOUT = 5.0  # seconds
STOP_WAIT = 5.0  # seconds for a stopped sandbox to be gone; it takes some 200 ms

log = logging.getLogger(__name__)


class Lifecycle:
    """Creates, shows and ends sandboxes.  Keeps nothing: any replica goes on where another has stopped."""

    def __init__(
        self, nomad: Nomad, renderer: Renderer, observer: Observer, readiness: Readiness, watcher: Watcher
    ) -> None:
        self._nomad, self._renderer, self._observer = nomad, renderer, observer
        self._credentials = Credentials(nomad)
        self._readiness, self._watcher = readiness, watcher

    async def create(self, call: Call, request: CreateSandboxRequest) -> SandboxStatus:
        """A new sandbox, or the one that an earlier call with the same id or key has made.

        Raises InvalidRequest, IdInUse; and how it ended, if it did so before it was ready.
        """
        tenant = call.caller.tenant
        sandbox_id, job = self._renderer.render(request.spec, tenant=tenant, idempotency_key=call.idempotency_key)
        with self._watcher.subscribe(job["ID"]) as news:
            try:
                registration = await self._register(sandbox_id, job, request)
            except JobExists:
                await self._check_same(sandbox_id, tenant, job)
                return await self._hold(sandbox_id, tenant, news, request.hold)
            log.info("sandbox %s of tenant %s is registered", sandbox_id, tenant)
            try:
                await self._wait_evaluated(registration)
                status = await self._hold(sandbox_id, tenant, news, request.hold)
            except asyncio.CancelledError:
                if request.on_abandoned == "stop":
                    await self._abandon(job)
                raise
        if reads_credentials(job) and status.state is not State.PENDING:
            await self._credentials.blank(sandbox_id)
        if status.state is State.STOPPED:
            raise why_not(status)
        return status

    async def get(self, call: Call, request: GetSandboxRequest) -> SandboxStatus:
        """The sandbox as it is now, or as it is when it no longer waits."""
        caller = call.caller
        with self._watcher.subscribe(job_id(call.sandbox_id)) as news:
            tenant = None if caller.role == "operator" else caller.tenant
            status = await self._hold(call.sandbox_id, tenant, news, request.hold, renew=request.renew)
        return status if status.tenant == caller.tenant else msgspec.structs.replace(status, rocklet=None)

    async def stop(self, call: Call, _request: Empty) -> SandboxStatus:
        """End a sandbox, however often."""
        caller = call.caller
        tenant = None if caller.role == "operator" else caller.tenant
        with self._watcher.subscribe(job_id(call.sandbox_id)) as news:
            sighting = await self._observer.look(call.sandbox_id, tenant=tenant)
            if not sighting.job.get("Stop"):
                await self._nomad.stop(job_id(call.sandbox_id))
                log.info("sandbox %s is stopped by %s", call.sandbox_id, caller.name)
                sighting = await self._wait_gone(call.sandbox_id, tenant, news)
        return await self._observer.status(call.sandbox_id, sighting)

    async def delete(self, call: Call, _request: Empty) -> Empty:
        """Make Nomad forget a sandbox that has ended.

        Raises InvalidRequest: it has not.
        """
        sighting = await self._observer.look(call.sandbox_id, tenant=call.caller.tenant)
        status = await self._observer.status(call.sandbox_id, sighting)
        if status.state is not State.STOPPED:
            expected = "one that has ended; stop it first"
            raise InvalidRequest(
                f"sandbox {call.sandbox_id} is {status.state.value}; only a sandbox that has ended can be deleted, "
                "so stop it first",
                details={"field": "sandbox_id", "value": call.sandbox_id, "expected": expected},
            )
        await self._nomad.stop(job_id(call.sandbox_id), purge=True)
        if reads_credentials(sighting.job):
            await self._credentials.forget(call.sandbox_id)
        log.info("sandbox %s is deleted by %s", call.sandbox_id, call.caller.name)
        return Empty()

    async def resolve(self, call: Call, _request: Empty) -> RockletEndpoint:
        """Where the sandbox's rocklet listens now.

        Raises NotReady, SandboxUnreachable, and how it ended.
        """
        return await self._observer.find_rocklet(call.caller.tenant, call.sandbox_id)

    # ------------------------------------------------------------------------------------------------------ plumbing

    async def _register(self, sandbox_id: str, job: Mapping[str, Any], request: CreateSandboxRequest) -> Registration:
        """Register a job; in place of one that has ended, if the request says so.

        Raises JobExists; IdInUse: the request wants none that is there.
        """
        replaces = request.on_existing == "replace_ended"
        is_chosen = request.spec.sandbox_id is not None
        index = await self._index_of_ended(sandbox_id, job) if replaces and is_chosen else 0
        try:
            if reads_credentials(job) and request.spec.registry is not None:
                return await self._register_private(sandbox_id, job, request.spec.registry, index)
            return await self._nomad.register(job, enforce_index=index)
        except JobExists:
            if replaces:
                raise _in_use(sandbox_id) from None
            raise
        except asyncio.CancelledError:
            if request.on_abandoned == "stop":
                await self._abandon(job, index, is_new=replaces or not is_chosen)
            raise

    async def _register_private(
        self, sandbox_id: str, job: Mapping[str, Any], registry: Registry, index: int
    ) -> Registration:
        """Register a job whose node will find the registry's credentials.

        Raises JobExists.
        """
        if index:
            await self._credentials.forget(sandbox_id)  # those of the sandbox that has ended
        await self._credentials.put(sandbox_id, registry)
        try:
            return await self._nomad.register(job, enforce_index=index)
        except JobExists:
            await self._credentials.forget(sandbox_id)
            raise

    async def _index_of_ended(self, sandbox_id: str, job: Mapping[str, Any]) -> int:
        """The JobModifyIndex of the ended sandbox whose id this job is to take; 0 if the id is free.

        Raises IdInUse: it lives, or it is somebody else's.
        """
        if await self._nomad.job(job["ID"]) is None:
            return 0
        tenant = job["Meta"]["tenant"]
        try:
            sighting = await self._observer.look(sandbox_id, tenant=tenant)
        except SandboxNotFound:
            raise _in_use(sandbox_id) from None
        if (await self._observer.status(sandbox_id, sighting)).state is not State.STOPPED:
            raise _in_use(sandbox_id)
        if not sighting.job.get("Stop"):
            # Nomad takes a job that only completed for one that needs nothing; one that was stopped it runs anew.
            await self._nomad.stop(job["ID"])
            sighting = await self._observer.look(sandbox_id, tenant=tenant)
        return integer(sighting.job.get("JobModifyIndex"))

    async def _abandon(self, job: Mapping[str, Any], index: int | None = None, *, is_new: bool = True) -> None:
        """End a sandbox of which nobody will hear.

        With an index, its registration may be under way still: registered once more it is there, or cannot come any
        more.  What is there may be somebody else's if it is not `is_new`.
        """
        with contextlib.suppress(TimeoutError, ClusterUnavailable):
            async with asyncio.timeout(ABANDON_TIMEOUT):
                if index is not None:
                    try:
                        await self._nomad.register(job, enforce_index=index)
                    except JobExists:
                        if not is_new:
                            return
                await self._nomad.stop(job["ID"])
                log.info("%s is stopped: its caller went away before it was told", job["ID"])

    async def _check_same(self, sandbox_id: str, tenant: str, job: Mapping[str, Any]) -> None:
        """Let pass who asks again for what there is.

        Raises IdInUse: there is something else under this id.
        """
        existing = await self._nomad.job(job["ID"])
        if existing is None:
            raise ClusterUnavailable(f"sandbox {sandbox_id} was deleted while it was asked for; send it again")
        same = ("managed_by", "tenant", "spec_hash")
        if any((existing.data.get("Meta") or {}).get(key) != job["Meta"][key] for key in same):
            raise _in_use(sandbox_id, " and was asked for otherwise; ")

    async def _wait_evaluated(self, registration: Registration) -> None:
        """Wait for Nomad's first word, so that a sandbox that can never be is refused at once."""
        index = registration.index
        try:
            async with asyncio.timeout(EVALUATION_WAIT):
                while True:
                    evaluation = await self._nomad.evaluation(registration.eval_id, index=index, wait=EVALUATION_WAIT)
                    if evaluation is None or evaluation.data.get("Status") != "pending":
                        return
                    index = evaluation.index
        except TimeoutError:
            log.info("evaluation %s takes its time", registration.eval_id)

    async def _hold(
        self, sandbox_id: str, tenant: str | None, news: News, hold: float, *, renew: bool = False
    ) -> SandboxStatus:
        """The status when it is no longer pending, or after `hold` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + hold
        while True:
            try:
                sighting, status = await self._settle(sandbox_id, tenant, renew=renew)
            except ClusterUnavailable:
                # Whoever has time to wait need not hear of servers that elect a leader.
                if until - loop.time() < OUTAGE_PAUSE:
                    raise
                await asyncio.sleep(OUTAGE_PAUSE)
                continue
            if status.state is not State.PENDING or (left := until - loop.time()) <= 0:
                return status
            patience = _patience(sighting, status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if patience is None else min(left, patience)):
                    await self._wait_for_change(sandbox_id, sighting, news)

    async def _wait_for_change(self, sandbox_id: str, sighting: Sighting, news: News) -> None:
        try:
            await self._readiness.wait(sandbox_id, sighting, news)
        except ClusterUnavailable:
            # Consul is away, which the status has said; the sandbox may end meanwhile.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OUTAGE_PAUSE):
                    await news.changed()

    async def _settle(
        self, sandbox_id: str, tenant: str | None, *, renew: bool = False
    ) -> tuple[Sighting, SandboxStatus]:
        """What is known; a sandbox that can never be, or has waited too long, is ended by whoever sees it first."""
        sighting = await self._observer.look(sandbox_id, tenant=tenant)
        status = await self._observer.status(sandbox_id, sighting, renew=renew)
        if status.state is State.PENDING and self._observer.is_hopeless(sighting):
            log.info("sandbox %s is ended: %s", sandbox_id, status.message)
            await self._nomad.stop(job_id(sandbox_id))
            sighting = await self._observer.look(sandbox_id, tenant=tenant)
            status = await self._observer.status(sandbox_id, sighting)
        return sighting, status

    async def _wait_gone(self, sandbox_id: str, tenant: str | None, news: News) -> Sighting:
        sighting = await self._observer.look(sandbox_id, tenant=tenant)
        try:
            async with asyncio.timeout(STOP_WAIT):
                while sighting.is_live:
                    await news.changed()
                    sighting = await self._observer.look(sandbox_id, tenant=tenant)
        except TimeoutError:
            log.info("sandbox %s takes its time to end", sandbox_id)
        return sighting


def _in_use(sandbox_id: str, how: str = "; ") -> IdInUse:
    return IdInUse(
        f"sandbox {sandbox_id} exists already{how}choose another id",
        details={"field": "sandbox_id", "value": sandbox_id, "expected": "an id that is not in use"},
    )


def _patience(sighting: Sighting, status: SandboxStatus) -> float | None:
    """Seconds until the sandbox will have waited too long, if it still may."""
    if status.deadlines.startup is None or sighting.now > status.deadlines.startup:
        return None
    # Nomad tells its time in whole seconds, so the moment itself can seem to last.
    return max(status.deadlines.startup - sighting.now, MOMENT)
