from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from rock_nomad.embedded.errors import Refused
from rock_nomad.embedded.http import BlockingQuery, build_application, json_response, serve
from rock_nomad.embedded.routes import Route
from rock_nomad.embedded.watches import Watches

ROUTES = (Route("echo", "GET", "/v1/echo", frozenset({"known"})), Route("refuse", "GET", "/v1/refuse"))


async def echo(_request: web.Request) -> web.Response:
    return json_response({"said": True})


async def refuse(_request: web.Request) -> web.Response:
    raise Refused(418, "no")


def application() -> web.Application:
    return build_application(ROUTES, {"echo": echo, "refuse": refuse}, frozenset({"common"}))


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/echo?known=1&common=2", 200, '{"said":true}'),
        ("GET", "/v1/echo?other=1", 501, "the query parameter 'other' of GET /v1/echo"),
        ("POST", "/v1/echo", 501, "POST /v1/echo"),
        ("GET", "/v2", 501, "GET /v2"),
        ("GET", "/v1/refuse", 418, "no"),
    ],
)
async def test_the_fence_names_what_is_beyond_it(method: str, path: str, status: int, text: str) -> None:
    async with TestClient(TestServer(application())) as client:
        reply = await client.request(method, path)
        assert reply.status == status
        assert (await reply.text()).endswith(text)


def query(**parameters: str) -> BlockingQuery:
    text = "&".join(f"{key}={value}" for key, value in parameters.items())
    return BlockingQuery.from_request(make_mocked_request("GET", f"/?{text}"))


def test_a_blocking_query_is_read_and_bounded() -> None:
    assert query() == BlockingQuery(0, 300.0)
    assert query(index="7", wait="1500ms") == BlockingQuery(7, 1.5)
    assert query(wait="20m").wait == 600.0


@pytest.mark.parametrize("parameters", [{"index": "x"}, {"wait": "soon"}])
def test_a_broken_blocking_query_is_400(parameters: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        query(**parameters)
    assert refused.value.status == 400


async def test_a_query_returns_with_the_change_with_the_deadline_or_at_once() -> None:
    watches, index = Watches(), 5
    await BlockingQuery(0, 60).until_newer(lambda: index, watches, "key")
    await BlockingQuery(4, 60).until_newer(lambda: index, watches, "key")
    await BlockingQuery(5, 0.01).until_newer(lambda: index, watches, "key")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(BlockingQuery(5, 60).until_newer(lambda: index, watches, "key"))
        await asyncio.sleep(0)
        watches.wake(["key"])  # something else about it changed: not newer yet
        await asyncio.sleep(0)
        assert not waiting.done()
        index = 6
        watches.wake(["key"])


async def test_connections_beyond_the_limit_are_429_until_one_ends() -> None:
    async with serve(application(), 0, connections_per_client=2) as address:
        host, port = address.split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        refused: Any = await asyncio.wait_for(held[2][0].readline(), 5)
        assert refused.startswith(b"HTTP/1.1 429")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while (await session.get(f"http://{address}/v1/echo")).status != 200:
                pass
