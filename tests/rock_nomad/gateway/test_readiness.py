import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from rock.wire.messages import RockletEndpoint
from rock_nomad.consul import Service
from rock_nomad.gateway.observer import Sighting
from rock_nomad.gateway.readiness import Readiness
from rock_nomad.gateway.rocklets import StaleAddress
from rock_nomad.gateway.watcher import News

SERVICE = Service(address="127.0.0.1", port=1, meta={}, status="critical", alloc_id="x")
ENDPOINT = RockletEndpoint(sandbox_id="a", url="http://127.0.0.1:1", token="t", alloc_id="x")


def _sighting(status: str | None, isolation: str = "raw_exec") -> Sighting:
    job = {"ID": "sbx-a", "Meta": {"tenant": "team", "isolation": isolation}, "Status": "running"}
    rows = [{"ID": "x", "ClientStatus": status, "CreateIndex": 2}] if status else []
    return Sighting(job=job, allocations=rows, evaluations=[], now=0.0)


@dataclass
class _Parts:
    """Consul, locator and rocklets as far as readiness asks them."""

    registered: asyncio.Event = field(default_factory=asyncio.Event)
    listens: asyncio.Event = field(default_factory=asyncio.Event)
    is_stale: bool = False
    polls: int = 0
    most_polls: int = 0

    async def rocklets(self, name: str, *, index: int | None = None, wait: float = 0.0) -> tuple[int, list[Service]]:
        if index is not None and not self.registered.is_set():
            self.polls += 1
            self.most_polls = max(self.polls, self.most_polls)
            try:
                await self.registered.wait()
            finally:
                self.polls -= 1
        return 7, [SERVICE] if self.registered.is_set() else []

    def note(self, tenant: str, sandbox_id: str, service: Service) -> RockletEndpoint:
        return ENDPOINT

    def forget(self, tenant: str, endpoint: RockletEndpoint) -> None:
        assert endpoint == ENDPOINT

    async def await_clocks(self, endpoint: RockletEndpoint) -> None:
        if self.is_stale:
            raise StaleAddress(endpoint.url)
        await self.listens.wait()


def _readiness(parts: Any, long_polls: int = 64) -> Readiness:  # noqa: ANN401 - a fake at three seams
    return Readiness(parts, parts, parts, long_polls=long_polls)


async def _is_waiting(task: asyncio.Task[None]) -> bool:
    await asyncio.wait([task], timeout=0.01)
    return not task.done()


async def test_ready_means_that_the_rocklet_has_answered() -> None:
    parts, news = _Parts(), News()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(parts).wait("a", _sighting("pending"), news))
        assert await _is_waiting(wait)
        parts.registered.set()
        assert await _is_waiting(wait)
        parts.listens.set()
        await asyncio.wait_for(wait, 1)


async def test_what_nomad_has_to_say_ends_the_wait() -> None:
    news = News()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(_Parts()).wait("a", _sighting("pending"), news))
        assert await _is_waiting(wait)
        news.tell(changed=False)
        assert await _is_waiting(wait)
        news.tell()
        await asyncio.wait_for(wait, 1)


async def test_a_queued_sandbox_costs_no_long_poll_and_wakes_when_it_is_placed() -> None:
    parts, news = _Parts(), News()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(parts).wait("a", _sighting(None), news))
        assert await _is_waiting(wait)
        assert parts.polls == 0
        news.tell(changed=False)
        await asyncio.wait_for(wait, 1)


async def test_waiters_beyond_the_long_polls_are_woken_by_the_event_stream() -> None:
    parts, every = _Parts(), [News() for _ in range(5)]
    readiness = _readiness(parts, long_polls=2)
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(readiness.wait("a", _sighting("pending"), news)) for news in every]
        await asyncio.wait(waits, timeout=0.01)
        assert parts.most_polls == 2
        for news in every:
            news.tell()
        await asyncio.wait_for(asyncio.gather(*waits), 1)
    assert (parts.polls, readiness._free) == (0, 2)


async def test_a_sandbox_without_a_rocklet_waits_for_nomad_alone() -> None:
    parts, news = _Parts(), News()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(parts).wait("a", _sighting("pending", "mock"), news))
        assert await _is_waiting(wait)
        assert parts.polls == 0
        news.tell()
        await asyncio.wait_for(wait, 1)


@pytest.mark.parametrize("told", [True, False])
async def test_another_sandboxs_rocklet_at_the_address_is_not_readiness(told: bool) -> None:
    parts, news = _Parts(is_stale=True), News()
    parts.registered.set()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(parts).wait("a", _sighting("running"), news))
        assert await _is_waiting(wait)
        if told:
            news.tell()
            await asyncio.wait_for(wait, 1)
        else:
            wait.cancel()
