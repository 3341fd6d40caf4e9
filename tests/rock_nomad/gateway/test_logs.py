from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from rock.wire.codec import encode_query
from rock.wire.errors import ErrorBody, FileNotFound, NotReady, SandboxNotFound, from_body
from rock.wire.messages import SandboxStatus
from rock.wire.monitoring import ReadLogRequest
from rock.wire.operations import DELETE_SANDBOX, GET_SANDBOX, READ_LOG, STOP_SANDBOX
from tests.cluster import Cluster
from tests.followers import FollowedLog
from tests.gateways import Gateway

pytestmark = pytest.mark.slow

LISTENS = b"INFO rocklet.server: sandbox %s listens on"


@asynccontextmanager
async def opened(
    gateway: Gateway, sandbox_id: str, *, key: str = "", follow: bool = False, heartbeat: float = 15.0
) -> AsyncIterator[aiohttp.StreamReader]:
    """A sandbox's log; its typed error is raised."""
    path = READ_LOG.gateway_path.replace("{sandbox_id}", sandbox_id)
    async with gateway.session.get(
        gateway.url + path,
        params=encode_query(ReadLogRequest(follow=follow, heartbeat=heartbeat)),
        headers={"Authorization": f"Bearer {key or gateway.key}"},
    ) as reply:
        if reply.status != 200:
            raise from_body(msgspec.json.decode(await reply.read(), type=ErrorBody), reply.status)
        yield reply.content


@asynccontextmanager
async def followed(gateway: Gateway, sandbox_id: str, *, heartbeat: float = 15.0) -> AsyncIterator[FollowedLog]:
    async with opened(gateway, sandbox_id, follow=True, heartbeat=heartbeat) as content:
        yield FollowedLog(content)


async def read(gateway: Gateway, sandbox_id: str, *, key: str = "") -> bytes:
    async with opened(gateway, sandbox_id, key=key) as log:
        return await log.read()


async def begun(gateway: Gateway, sandbox_id: str) -> SandboxStatus:
    """A sandbox whose log has begun: its node may show what was written a moment later."""
    status = await gateway.create(sandbox_id)
    async with followed(gateway, sandbox_id) as log:
        await log.readline()
    return status


async def test_what_a_rocklet_says_can_be_read_while_it_lives_and_after_its_end(gateway: Gateway) -> None:
    await begun(gateway, "log-of-a-life")
    assert LISTENS % b"log-of-a-life" in await read(gateway, "log-of-a-life")
    await gateway.call(STOP_SANDBOX, sandbox_id="log-of-a-life")
    assert LISTENS % b"log-of-a-life" in await read(gateway, "log-of-a-life")


async def test_a_log_that_is_followed_ends_with_its_sandbox_and_has_its_last_words(gateway: Gateway) -> None:
    await gateway.create("log-followed", idle_timeout=3.0)
    async with followed(gateway, "log-followed") as log, asyncio.timeout(60):
        assert LISTENS % b"log-followed" in await log.readline()
        assert b"sandbox log-followed ends: idle" in await log.read()


async def test_a_silent_log_is_followed_with_a_word_now_and_then(gateway: Gateway) -> None:
    await gateway.create("log-silent")
    async with followed(gateway, "log-silent", heartbeat=0.1) as log, asyncio.timeout(60):
        while log.heartbeats < 2:
            await log.read_some()


async def test_whoever_follows_may_go_without_a_trace(gateway: Gateway) -> None:
    await gateway.create("log-left")
    for _ in range(40):  # more than are read at once
        async with followed(gateway, "log-left") as log:
            await log.readline()


async def test_a_log_is_its_tenants_and_the_operators(gateway: Gateway) -> None:
    await begun(gateway, "log-owned")
    with pytest.raises(SandboxNotFound):
        await read(gateway, "log-owned", key="key-b")
    assert LISTENS % b"log-owned" in await read(gateway, "log-owned", key="key-op")


async def test_a_sandbox_that_has_not_begun_has_none_and_says_what_it_waits_for(gateway: Gateway) -> None:
    await gateway.create("log-fills", cpus=gateway.cpus * 0.9)
    waits = await gateway.create("log-waits", cpus=gateway.cpus * 0.9, hold=0.0)
    with pytest.raises(NotReady, match="sandbox log-waits is not ready"):
        await read(gateway, "log-waits")
    assert waits.sandbox_id == "log-waits"


async def test_a_log_that_its_node_has_thrown_away_is_gone(gateway: Gateway, cluster: Cluster) -> None:
    if cluster.kind == "embedded":
        pytest.skip("the embedded cluster collects nothing when told to")
    status = await begun(gateway, "log-collected")
    await gateway.call(STOP_SANDBOX, sandbox_id="log-collected")
    collected = await asyncio.to_thread(cluster.nomad, "GET", f"/v1/client/allocation/{status.alloc_id}/gc")
    assert collected.status == 200
    with pytest.raises(FileNotFound, match="the log of sandbox log-collected is gone"):
        await read(gateway, "log-collected")
    assert (await gateway.call(GET_SANDBOX, sandbox_id="log-collected")).sandbox_id == "log-collected"
    await gateway.call(DELETE_SANDBOX, sandbox_id="log-collected")
