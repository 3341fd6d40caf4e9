from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from rock_nomad.embedded.catalog import Catalog, Instance
from rock_nomad.embedded.consul_api import ConsulApi

Client = TestClient[Any, Any]


@pytest.fixture
def catalog() -> Catalog:
    return Catalog("id", "vm")


@pytest.fixture
async def client(catalog: Catalog) -> AsyncIterator[Client]:
    server = TestServer(ConsulApi(catalog, "secret").application())
    async with TestClient(server, headers={"X-Consul-Token": "secret"}) as client:
        yield client


async def test_a_read_says_its_index(client: Client, catalog: Catalog) -> None:
    catalog.register(Instance("i", "svc", "127.0.0.1", 1))
    for path in ("/v1/health/service/svc", "/v1/catalog/services"):
        assert int((await client.get(path)).headers["X-Consul-Index"]) == catalog.index
    missing = await client.get("/v1/kv/none")
    assert (missing.status, await missing.read(), missing.headers["X-Consul-Index"]) == (404, b"", "1")


@pytest.mark.parametrize(("flag", "rows"), [("passing", 1), ("passing=1", 1), ("passing=0", 1), ("", 1)])
async def test_flags_may_stand_without_a_value(client: Client, catalog: Catalog, flag: str, rows: int) -> None:
    catalog.register(Instance("i", "svc", "127.0.0.1", 1))
    assert len(await (await client.get(f"/v1/health/service/svc?{flag}")).json()) == rows


@pytest.mark.parametrize("query", ["cas=x", "flags=x"])
async def test_a_number_that_is_none_is_400(client: Client, query: str) -> None:
    assert (await client.put(f"/v1/kv/a?{query}", data=b"")).status == 400


async def test_keys_may_hold_slashes_and_values_any_byte(client: Client) -> None:
    assert await (await client.put("/v1/kv/a/b%20c/d?flags=7", data=bytes(range(256)))).json() is True
    (row,) = await (await client.get("/v1/kv/a/b%20c/d")).json()
    assert (row["Key"], row["Flags"], len(row["Value"])) == ("a/b c/d", 7, 344)
    assert await (await client.get("/v1/kv/a/?keys")).json() == ["a/b c/d"]
    assert await (await client.delete("/v1/kv/a/?recurse")).json() is True


async def test_without_a_token_there_is_no_service_and_a_foreign_one_is_refused(
    client: Client, catalog: Catalog
) -> None:
    catalog.register(Instance("i", "svc", "127.0.0.1", 1))
    nobody, foreign = {"X-Consul-Token": ""}, {"X-Consul-Token": "other"}
    for path, empty in (("/v1/health/service/svc", []), ("/v1/catalog/services", {})):
        assert await (await client.get(path, headers=nobody)).json() == empty
        assert (await client.get(path, headers=foreign)).status == 403
    assert (await client.get("/v1/kv/a?recurse", headers=nobody)).status == 404
    calls = [(method, "/v1/kv/a") for method in ("GET", "PUT", "DELETE")]
    for method, path in (*calls, ("GET", "/v1/agent/self")):
        for headers, text in ((nobody, "Permission denied"), (foreign, "ACL not found")):
            reply = await client.request(method, path, headers=headers)
            assert (reply.status, await reply.text()) == (403, text)
