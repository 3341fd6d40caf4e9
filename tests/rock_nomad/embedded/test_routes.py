from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rock_nomad.config import ConsulConfig, NomadConfig
from rock_nomad.consul import Consul
from rock_nomad.embedded.catalog import Catalog
from rock_nomad.embedded.consul_api import ConsulApi
from rock_nomad.embedded.nomad_api import NomadApi
from rock_nomad.embedded.routes import CONSUL_COMMON, CONSUL_ROUTES, NOMAD_COMMON, NOMAD_ROUTES, UNANSWERED, Route
from rock_nomad.embedded.scheduler import Scheduler
from rock_nomad.embedded.state import State
from rock_nomad.nomad import Nomad
from rock_nomad.nomad_errors import Refused
from tests.cluster import Cluster
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

TOKEN = "secret"
Asked = dict[tuple[str, str], set[str]]  # (method, route) -> query parameters

# Answered for the suite, which compares them with their recordings, and for people with curl.
NOBODY_ASKS = {("GET", "/v1/job/{id}/summary"), ("GET", "/v1/status/leader")}
NOBODY_ASKS |= {("GET", "/v1/catalog/services")}


@pytest.mark.parametrize(("api", "routes"), [(NomadApi, NOMAD_ROUTES), (ConsulApi, CONSUL_ROUTES)])
def test_every_route_has_its_handler_and_stands_once(api: type, routes: tuple[Route, ...]) -> None:
    assert all(callable(getattr(api, f"_{route.name}")) for route in routes)
    assert len({route.name for route in routes}) == len({(route.method, route.path) for route in routes}) == len(routes)


def listening(application: web.Application) -> Asked:
    """What an application is asked from now on."""
    asked: Asked = {}

    @web.middleware
    async def note(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = (request.method, resource.canonical if resource else request.path)
        asked.setdefault(route, set()).update(request.query)
        return await handler(request)

    application.middlewares.append(note)
    return asked


def fenced(routes: tuple[Route, ...]) -> dict[tuple[str, str], frozenset[str]]:
    # aiohttp prints a route's pattern without its regular expression.
    return {(route.method, route.path.replace(":.*", "")): route.query for route in routes}


def assert_same(asked: Asked, routes: tuple[Route, ...], common: frozenset[str]) -> None:
    fence = fenced(routes)
    assert asked.keys() - fence.keys() == set()
    assert fence.keys() - asked.keys() <= NOBODY_ASKS
    for route, parameters in asked.items():
        assert parameters <= fence[route] | common


@pytest.mark.slow
async def test_the_client_of_nomad_asks_for_what_is_answered_and_for_nothing_else(tmp_path: Path) -> None:
    scheduler = Scheduler(State(make_node()), lambda _port: True)
    application = NomadApi(scheduler, TOKEN, tmp_path).application()
    asked = listening(application)
    (tmp_path / "token").write_text(TOKEN)
    async with TestServer(application) as server:
        config = NomadConfig(url=f"http://{server.host}:{server.port}", token_file=tmp_path / "token")
        async with Nomad(config, region="global") as nomad:
            job = canonical_job("a", MemoryMB=1)
            await nomad.validate(job)
            await nomad.plan(job)
            evaluation_id = (await nomad.register(job)).eval_id
            (allocation,) = (await nomad.allocations("a", index=1, wait=0.1)).data
            await nomad.job("a", index=1, wait=0.1)
            await nomad.evaluation(evaluation_id, index=1, wait=0.1)
            await nomad.evaluations("a")
            await nomad.allocation(allocation["ID"])
            await nomad.list_jobs("a")
            await nomad.list_allocations()
            await nomad.list_evaluations(status="blocked")
            [node] = (await nomad.nodes()).data
            await nomad.node(node["ID"])
            assert await nomad.create_variable("nomad/jobs/a", {"key": "value"})
            assert not await nomad.create_variable("nomad/jobs/a", {"key": "other"})
            await nomad.put_variable("nomad/jobs/a", {"key": ""})
            assert [row["Path"] for row in (await nomad.list_variables("nomad/")).data] == ["nomad/jobs/a"]
            await nomad.delete_variable("nomad/jobs/a")
            assert (await nomad.list_variables("nomad/")).data == []
            assert "rock-nomad-embedded" in str((await nomad.agent()).data)
            with pytest.raises(Refused, match="not started yet"):
                await anext(nomad.log(allocation["ID"], "main", "stderr", follow=True))
            stream = nomad.events(["Job", "Allocation:a"], index=1)
            assert (await anext(stream)).events == []
            scheduler.state.events.close()
            assert [batch async for batch in stream]
            await nomad.stop("a", purge=True)
    assert_same(asked, NOMAD_ROUTES, NOMAD_COMMON)


@pytest.mark.slow
async def test_the_client_of_consul_asks_for_what_is_answered_and_for_nothing_else(tmp_path: Path) -> None:
    application = ConsulApi(Catalog("id", "vm"), TOKEN).application()
    asked = listening(application)
    (tmp_path / "token").write_text(TOKEN)
    async with TestServer(application) as server:
        config = ConsulConfig(url=f"http://{server.host}:{server.port}", token_file=tmp_path / "token")
        async with Consul(config) as consul:
            await consul.rocklets("svc", index=1, wait=0.05)
            await consul.find_rocklet("svc")
            assert await consul.kv_put("a/b", b"1", cas=0)
            assert await consul.kv_get("a/b") is not None
            assert len(await consul.kv_list("a/")) == 1
            assert await consul.kv_delete("a/", recurse=True)
            assert await consul.kv_delete("a/b", cas=0)
            assert "rock-nomad-embedded" in str(await consul.agent())
    assert_same(asked, CONSUL_ROUTES, CONSUL_COMMON)


@pytest.mark.parametrize("route", UNANSWERED, ids=lambda route: route.name)
@pytest.mark.parametrize("kind", ["nomad", "consul"])
@pytest.mark.slow
def test_what_only_real_agents_are_asked_names_itself(embedded: Cluster, kind: str, route: Route) -> None:
    reply = getattr(embedded, kind)(route.method, route.path)
    assert reply.status == 501
    assert route.path in str(reply.data)
