from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.errors import SessionNotFound
from rock_nomad.bench.calls import Server
from tests.cluster import Cluster
from tests.gateways import start_gateway

pytestmark = pytest.mark.slow


@pytest.fixture
async def servers(cluster: Cluster) -> AsyncIterator[dict[str, Server]]:
    """A sandbox's rocklet, and the gateway in front of it."""
    async with start_gateway(cluster) as gateway, aiohttp.ClientSession() as http:
        created = await gateway.create()
        endpoint = await gateway.call(op.RESOLVE_ROCKLET, sandbox_id=created.sandbox_id)
        yield {
            "rocklet": Server(http=http, url=endpoint.url, token=endpoint.token),
            "gateway": Server(http=http, url=gateway.url, token=gateway.key, sandbox_id=created.sandbox_id),
        }


async def test_a_sandbox_is_called_either_way_as_often_as_wanted(servers: dict[str, Server]) -> None:
    for name, server in servers.items():
        await server.ask(op.CREATE_SESSION, m.CreateSessionRequest(session=name))
        counting = server.prepare(op.RUN_IN_SESSION, m.RunRequest(command="echo $((++n))", session=name))
        assert [b'"2\\n"' in await counting() for _ in range(3)] == [False, True, False]
        upload = server.prepare(op.UPLOAD, m.UploadRequest(path=f"/tmp/{name} file"), b"some bytes")
        assert b'"size":10' in await upload()
        assert (await server.ask(op.IS_ALIVE, m.Empty())).sandbox_id


async def test_an_error_that_is_answered_is_raised(servers: dict[str, Server]) -> None:
    for server in servers.values():
        with pytest.raises(SessionNotFound):
            await server.ask(op.RUN_IN_SESSION, m.RunRequest(command="true", session="none"))
