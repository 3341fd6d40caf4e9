"""Waiting for a sandbox to become ready: running means that its rocklet has answered."""

from __future__ import annotations

import asyncio

from rock_nomad.consul import LONG_POLLS, Consul, Service
from rock_nomad.gateway.locator import Locator
from rock_nomad.gateway.observer import Sighting
from rock_nomad.gateway.rocklets import Rocklets, StaleAddress
from rock_nomad.gateway.waiting import first_of
from rock_nomad.gateway.watcher import News
from rock_nomad.names import service_name

__all__ = ["Readiness"]

LONG_POLL_WAIT = 20.0  # seconds; as long as the longest hold


class Readiness:
    """Wakes whoever holds a call until its sandbox is ready, has ended, or waits for another reason than before.

    Consul is asked by one blocking query on the sandbox's own service, a quarter of a second ahead of Nomad.  Waiters
    beyond `LONG_POLLS` are woken by the replica's one event stream instead, and then ask Consul once.
    """

    def __init__(self, consul: Consul, locator: Locator, rocklets: Rocklets, *, long_polls: int = LONG_POLLS) -> None:
        self._consul, self._locator, self._rocklets = consul, locator, rocklets
        self._free = long_polls

    async def wait(self, sandbox_id: str, sighting: Sighting, news: News) -> None:
        """Return when a pending sandbox is worth another look."""
        if not sighting.is_live:
            # It waits for room: no long poll is spent on that.
            await news.placed()
        elif not sighting.has_rocklet:
            await news.changed()
        else:
            await first_of(news.changed(), self._answer(sighting.tenant, sandbox_id))

    async def _answer(self, tenant: str, sandbox_id: str) -> None:
        service = await self._service(service_name(sandbox_id))
        endpoint = self._locator.note(tenant, sandbox_id, service)
        if endpoint is None:
            await _never()
            return
        try:
            await self._rocklets.await_clocks(endpoint)
        except StaleAddress:
            # Whoever answers there is not the sandbox; Nomad will tell when that changes.
            self._locator.forget(tenant, endpoint)
            await _never()

    async def _service(self, name: str) -> Service:
        index, services = await self._consul.rocklets(name)
        if services:
            return services[0]
        if self._free <= 0:
            await _never()
        self._free -= 1
        try:
            while not services:
                index, services = await self._consul.rocklets(name, index=index, wait=LONG_POLL_WAIT)
        finally:
            self._free += 1
        return services[0]


async def _never() -> None:
    await asyncio.Event().wait()
