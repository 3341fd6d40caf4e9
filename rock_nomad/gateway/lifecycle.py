"""The life of one sandbox: create, get, stop, delete, and where its rocklet is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from rock.wire.errors import ClusterUnavailable, IdInUse, InvalidRequest
from rock.wire.messages import CreateSandboxRequest, Empty, GetSandboxRequest, RockletEndpoint, SandboxStatus, State
from rock_nomad.gateway.calls import Call
from rock_nomad.gateway.errors import why_not
from rock_nomad.gateway.observer import Observer, Sighting
from rock_nomad.gateway.readiness import Readiness
from rock_nomad.gateway.renderer import Renderer
from rock_nomad.gateway.watcher import News, Watcher
from rock_nomad.names import job_id
from rock_nomad.nomad import JobExists, Nomad, Registration

__all__ = ["Lifecycle"]

EVALUATION_WAIT = 2.0  # seconds for Nomad's first word; it takes some 20 ms
MOMENT = 0.25  # seconds
STOP_WAIT = 5.0  # seconds for a stopped sandbox to be gone; it takes some 200 ms

log = logging.getLogger(__name__)


class Lifecycle:
    """Creates, shows and ends sandboxes.  Keeps nothing: any replica goes on where another has stopped."""

    def __init__(
        self, nomad: Nomad, renderer: Renderer, observer: Observer, readiness: Readiness, watcher: Watcher
    ) -> None:
        self._nomad, self._renderer, self._observer = nomad, renderer, observer
        self._readiness, self._watcher = readiness, watcher

    async def create(self, call: Call, request: CreateSandboxRequest) -> SandboxStatus:
        """A new sandbox, or the one that an earlier call with the same id or key has made.

        Raises InvalidRequest, IdInUse; and how it ended, if it did so before it was ready.
        """
        tenant = call.caller.tenant
        sandbox_id, job = self._renderer.render(request.spec, tenant=tenant, idempotency_key=call.idempotency_key)
        with self._watcher.subscribe(job["ID"]) as news:
            try:
                registration = await self._nomad.register(job)
            except JobExists:
                await self._check_same(sandbox_id, tenant, job)
                return await self._hold(sandbox_id, tenant, news, request.hold)
            log.info("sandbox %s of tenant %s is registered", sandbox_id, tenant)
            await self._wait_evaluated(registration)
            status = await self._hold(sandbox_id, tenant, news, request.hold)
        if status.state is State.STOPPED:
            raise why_not(status)
        return status

    async def get(self, call: Call, request: GetSandboxRequest) -> SandboxStatus:
        """The sandbox as it is now, or as it is when it no longer waits."""
        caller = call.caller
        with self._watcher.subscribe(job_id(call.sandbox_id)) as news:
            tenant = None if caller.role == "operator" else caller.tenant
            status = await self._hold(call.sandbox_id, tenant, news, request.hold)
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
        log.info("sandbox %s is deleted by %s", call.sandbox_id, call.caller.name)
        return Empty()

    async def resolve(self, call: Call, _request: Empty) -> RockletEndpoint:
        """Where the sandbox's rocklet listens now.

        Raises NotReady, SandboxUnreachable, and how it ended.
        """
        return await self._observer.find_rocklet(call.caller.tenant, call.sandbox_id)

    # ------------------------------------------------------------------------------------------------------ plumbing

    async def _check_same(self, sandbox_id: str, tenant: str, job: Mapping[str, Any]) -> None:
        """Let pass who asks again for what there is.

        Raises IdInUse: there is something else under this id.
        """
        existing = await self._nomad.job(job["ID"])
        if existing is None:
            raise ClusterUnavailable(f"sandbox {sandbox_id} was deleted while it was asked for; send it again")
        same = ("managed_by", "tenant", "spec_hash")
        if any((existing.data.get("Meta") or {}).get(key) != job["Meta"][key] for key in same):
            raise IdInUse(
                f"sandbox {sandbox_id} exists already and was asked for otherwise; choose another id",
                details={"field": "sandbox_id", "value": sandbox_id, "expected": "an id that is not in use"},
            )

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

    async def _hold(self, sandbox_id: str, tenant: str | None, news: News, hold: float) -> SandboxStatus:
        """The status when it is no longer pending, or after `hold` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + hold
        while True:
            sighting, status = await self._settle(sandbox_id, tenant)
            if status.state is not State.PENDING or (left := until - loop.time()) <= 0:
                return status
            patience = _patience(sighting, status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if patience is None else min(left, patience)):
                    await self._readiness.wait(sandbox_id, sighting, news)

    async def _settle(self, sandbox_id: str, tenant: str | None) -> tuple[Sighting, SandboxStatus]:
        """What is known; a sandbox that can never be, or has waited too long, is ended by whoever sees it first."""
        sighting = await self._observer.look(sandbox_id, tenant=tenant)
        status = await self._observer.status(sandbox_id, sighting)
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


def _patience(sighting: Sighting, status: SandboxStatus) -> float | None:
    """Seconds until the sandbox will have waited too long, if it still may."""
    if status.deadlines.startup is None or sighting.now > status.deadlines.startup:
        return None
    # Nomad tells its time in whole seconds, so the moment itself can seem to last.
    return max(status.deadlines.startup - sighting.now, MOMENT)
