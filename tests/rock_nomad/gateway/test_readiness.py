import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from rock.wire.codec import encode
from rock.wire.messages import Clocks, GetSandboxRequest, RockletEndpoint, State
from rock.wire.operations import GET_SANDBOX, REQUEST_ID_HEADER
from rock.wire.spec import SandboxSpec
from rock_nomad.base_job import load_base_job
from rock_nomad.config import ClusterProfile
from rock_nomad.consul import Consul, Service
from rock_nomad.gateway.observer import Sighting
from rock_nomad.gateway.readiness import Readiness
from rock_nomad.gateway.renderer import Renderer
from rock_nomad.gateway.rocklets import StaleAddress
from rock_nomad.gateway.watcher import News
from rock_nomad.names import new_sandbox_id, service_name
from rock_nomad.nomad import Nomad
from rock_nomad.tokens import Secrets
from tests.cluster import Cluster
from tests.gateways import SECRET, Gateway, start_gateway

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
        await asyncio.wait_for(wait, 60)


async def test_what_nomad_has_to_say_ends_the_wait() -> None:
    news = News()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(_Parts()).wait("a", _sighting("pending"), news))
        assert await _is_waiting(wait)
        news.tell(changed=False)
        assert await _is_waiting(wait)
        news.tell()
        await asyncio.wait_for(wait, 60)


async def test_a_queued_sandbox_costs_no_long_poll_and_wakes_when_it_is_placed() -> None:
    parts, news = _Parts(), News()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(parts).wait("a", _sighting(None), news))
        assert await _is_waiting(wait)
        assert parts.polls == 0
        news.tell(changed=False)
        await asyncio.wait_for(wait, 60)


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
        await asyncio.wait_for(wait, 60)


@pytest.mark.parametrize("told", [True, False])
async def test_another_sandboxs_rocklet_at_the_address_is_not_readiness(told: bool) -> None:
    parts, news = _Parts(is_stale=True), News()
    parts.registered.set()
    async with asyncio.TaskGroup() as tasks:
        wait = tasks.create_task(_readiness(parts).wait("a", _sighting("running"), news))
        assert await _is_waiting(wait)
        if told:
            news.tell()
            await asyncio.wait_for(wait, 60)
        else:
            wait.cancel()


# ------------------------------------------------------------------------------------------------------- a crowd, live

CROWD = 300
"""More than an agent of Consul's (200) or of Nomad's (100) grants one address as connections."""


@asynccontextmanager
async def _rocklets_at(ports: dict[int, str]) -> AsyncIterator[None]:
    """Who answers at each port as the rocklet of the sandbox it is mapped to, for as long as the block lasts."""

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        sandbox_id = ports[request.transport.get_extra_info("sockname")[1]]
        clocks = Clocks(sandbox_id=sandbox_id, uptime=1.0, max_lifetime_remaining=600.0, pid=1)
        return web.Response(body=encode(clocks), headers={REQUEST_ID_HEADER: "r"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        for port in ports:
            await _listen(runner, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, port: int) -> None:
    """Listen at a port that no task of ours holds, so that a rocklet of other tests may have it for a while."""
    while True:
        try:
            return await web.TCPSite(runner, "127.0.0.1", port).start()
        except OSError:
            await asyncio.sleep(0.1)  # a port that is given back tells nobody


def _slow_jobs(name: str) -> dict[str, dict[str, Any]]:
    """Jobs of sandboxes by their id, whose tasks take seconds to start, cost next to nothing, and run no rocklet."""
    profile = ClusterProfile(name=name, isolations=("raw_exec",), default_isolation="raw_exec")
    renderer = Renderer(profile, load_base_job(), Secrets(SECRET.encode()))
    tiny = SandboxSpec(cpus=0.001, memory_bytes=16 * 2**20, disk_bytes=2**20)
    jobs = dict(renderer.render(tiny, tenant="team-a") for _ in range(CROWD))
    for job in jobs.values():
        config = {"run_for": "600s", "start_block_for": "5s"}
        job["TaskGroups"][0]["Tasks"][0].update(Driver="mock_driver", Config=config)
    return jobs


async def _wait_until_running(gateway: Gateway, sandbox_id: str) -> None:
    state = State.PENDING
    while state is State.PENDING:
        status = await gateway.call(GET_SANDBOX, GetSandboxRequest(hold=20), sandbox_id=sandbox_id)
        state = status.state
    assert state is State.RUNNING


async def _port(consul: Consul, name: str) -> int:
    index, services = await consul.rocklets(name)
    while not services:
        index, services = await consul.rocklets(name, index=index, wait=20)
    return services[0].port


@pytest.mark.slow
async def test_300_waits_through_one_gateway_are_all_answered_within_the_agents_limits(cluster: Cluster) -> None:
    name = f"crowd-{new_sandbox_id()[:8]}"
    jobs = _slow_jobs(name)
    async with (
        asyncio.timeout(240),
        start_gateway(cluster, name=name, keep=True) as gateway,
        Nomad(cluster.nomad_config()) as nomad,
        Consul(cluster.consul_config()) as consul,
    ):
        await asyncio.gather(*(nomad.register(job) for job in jobs.values()))
        async with asyncio.TaskGroup() as tasks:
            waits = [tasks.create_task(_wait_until_running(gateway, sandbox_id)) for sandbox_id in jobs]
            found = {await _port(consul, service_name(sandbox_id)): sandbox_id for sandbox_id in jobs}
            assert not any(wait.done() for wait in waits)
            async with _rocklets_at(found):
                await asyncio.gather(*waits)
        for job in jobs.values():  # one by one: a crowd of stops is no part of this
            await nomad.stop(job["ID"])
