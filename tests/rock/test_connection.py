from __future__ import annotations

import asyncio
import copy
import pickle
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import cloudpickle
import pytest

from rock import _loops
from rock._config import GatewayAddress
from rock._connection import Connection
from rock._gateway import Gateway
from rock._reach import HOSTS
from rock._routing import Direct
from rock.wire import messages as m
from rock.wire.errors import (
    FileNotFound,
    GatewayUnreachable,
    OutcomeUnknown,
    RockException,
    SandboxDied,
    SandboxEnded,
    SandboxUnreachable,
    StartFailed,
)
from rock.wire.operations import CANCEL, IS_ALIVE, READ_FILE, RESOLVE_ROCKLET, RUN_IN_SESSION
from rock.wire.reasons import Reason
from tests.rock.servers import Seen, WireServer, black_hole, in_thread, refused_url, serve

RUN = m.RunRequest(command="echo hi")
DIRECT, THROUGH = m.Observation(output="direct"), m.Observation(output="through the gateway")


@pytest.fixture
async def rocklet() -> AsyncIterator[WireServer]:
    async with serve(WireServer(is_gateway=False, token="rocklet-token")) as server:
        server.always(IS_ALIVE, m.RockletStatus(sandbox_id="s1"))
        server.always(RUN_IN_SESSION, DIRECT)
        server.always(CANCEL, m.CancelResult(canceled=True))
        yield server


@pytest.fixture
async def gateway(rocklet: WireServer) -> AsyncIterator[WireServer]:
    async with serve(WireServer(is_gateway=True)) as server:
        server.always(RUN_IN_SESSION, THROUGH)
        server.always(RESOLVE_ROCKLET, rocklet.endpoint())
        server.always(CANCEL, m.CancelResult(canceled=True))
        yield server


def connect(gateway: WireServer | str, direct: Direct = "auto") -> Connection:
    url = gateway if isinstance(gateway, str) else gateway.url
    return Connection(Gateway(GatewayAddress(url=url, api_key="secret")), "s1", direct)


def make_reachable(endpoint: m.RockletEndpoint) -> None:
    HOSTS.learn(urlsplit(endpoint.url).hostname or "", is_reachable=True)


async def explored() -> None:
    """Wait until what works in the background of this loop is done."""
    tasks = (await _loops.of_running_loop()).tasks
    await asyncio.gather(*tasks.values())


async def cut(seen: Seen) -> m.Observation:
    seen.cut()
    return m.Observation(output="nobody hears this")


async def test_the_first_call_goes_through_the_gateway_and_the_next_directly(
    gateway: WireServer, rocklet: WireServer
) -> None:
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
    await explored()
    assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT
    assert rocklet.asked(RUN_IN_SESSION)[0].headers["Authorization"] == "Bearer rocklet-token"


async def test_an_address_that_is_not_known_is_asked_for_in_the_background(gateway: WireServer) -> None:
    connection = connect(gateway)
    assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
    await explored()
    assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT


async def test_what_one_sandbox_learns_of_a_host_another_uses(gateway: WireServer, rocklet: WireServer) -> None:
    make_reachable(rocklet.endpoint())
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT
    assert gateway.seen == []


@pytest.mark.slow
async def test_dropped_packets_cost_a_moment_once_and_nothing_after(gateway: WireServer) -> None:
    with black_hole() as url:
        connection = connect(gateway)
        connection.learn(m.RockletEndpoint(sandbox_id="s1", url=url, token="t", alloc_id="a"))
        begun = time.monotonic()
        assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
        assert (await _loops.of_running_loop()).tasks  # the attempt goes on beside the call
        await explored()
        assert time.monotonic() - begun < 30  # the kernel tries for two minutes
        assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
        assert not (await _loops.of_running_loop()).tasks  # remembered: no second attempt


@pytest.mark.slow
async def test_packets_dropped_on_a_host_that_was_reachable_cost_one_attempt(gateway: WireServer) -> None:
    with black_hole() as url:
        endpoint = m.RockletEndpoint(sandbox_id="s1", url=url, token="t", alloc_id="a")
        make_reachable(endpoint)
        connection = connect(gateway)
        connection.learn(endpoint)
        begun = time.monotonic()
        assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
        assert time.monotonic() - begun < 30  # the kernel tries for two minutes
        assert HOSTS.verdict(urlsplit(url).hostname or "") is False
        assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
        assert not (await _loops.of_running_loop()).tasks


async def test_never_direct_asks_for_no_address(gateway: WireServer, rocklet: WireServer) -> None:
    make_reachable(rocklet.endpoint())
    connection = connect(gateway, "never")
    connection.learn(rocklet.endpoint())
    assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
    assert rocklet.seen == []


async def test_always_direct_asks_for_the_address_first(gateway: WireServer) -> None:
    assert await connect(gateway, "always").call(RUN_IN_SESSION, RUN) == DIRECT
    assert [seen.operation for seen in gateway.seen] == [RESOLVE_ROCKLET]


async def test_always_direct_does_not_fall_back(gateway: WireServer) -> None:
    gateway.always(RESOLVE_ROCKLET, m.RockletEndpoint(sandbox_id="s1", url=refused_url(), token="t", alloc_id="a"))
    with pytest.raises(SandboxUnreachable):
        await connect(gateway, "always").call(RUN_IN_SESSION, RUN)
    assert not gateway.asked(RUN_IN_SESSION)


async def test_an_address_that_another_rocklet_has_by_now_is_asked_for_anew(
    gateway: WireServer, rocklet: WireServer
) -> None:
    async with serve(WireServer(is_gateway=False, token="of another sandbox")) as other:
        stale = m.RockletEndpoint(sandbox_id="s1", url=other.url, token="rocklet-token", alloc_id="a")
        make_reachable(stale)
        connection = connect(gateway)
        connection.learn(stale)
        assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT
        assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT
    assert len(other.seen) == 1
    assert len(gateway.asked(RESOLVE_ROCKLET)) == 1


async def test_a_probe_that_meets_a_foreign_id_drops_the_address(gateway: WireServer, rocklet: WireServer) -> None:
    async with serve(WireServer(is_gateway=False)) as other:
        other.always(IS_ALIVE, m.RockletStatus(sandbox_id="another"))
        connection = connect(gateway)
        connection.learn(other.endpoint())
        await connection.call(RUN_IN_SESSION, RUN)
        await explored()
        await connection.call(RUN_IN_SESSION, RUN)
        await explored()
        assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT
    assert [seen.operation for seen in other.seen] == [IS_ALIVE]


async def test_a_dead_address_leads_to_the_typed_end_of_the_sandbox(gateway: WireServer) -> None:
    endpoint = m.RockletEndpoint(sandbox_id="s1", url=refused_url(), token="t", alloc_id="a")
    make_reachable(endpoint)
    gateway.always(RESOLVE_ROCKLET, SandboxDied("it was out of memory", reason=Reason.OOM))
    connection = connect(gateway)
    connection.learn(endpoint)
    with pytest.raises(SandboxDied) as caught:
        await connection.call(RUN_IN_SESSION, RUN)
    assert caught.value.reason is Reason.OOM


async def test_a_lost_connection_is_answered_by_sending_again_with_the_same_id(
    gateway: WireServer, rocklet: WireServer
) -> None:
    @rocklet.answer(RUN_IN_SESSION)
    async def _(seen: Seen) -> m.Observation:
        if len(rocklet.asked(RUN_IN_SESSION)) == 1:
            seen.cut()
        return DIRECT

    make_reachable(rocklet.endpoint())
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT
    assert len({seen.request_id for seen in rocklet.seen}) == 1
    assert len(rocklet.seen) == 2


async def test_the_id_is_kept_when_the_gateway_takes_over(gateway: WireServer, rocklet: WireServer) -> None:
    rocklet.answers[RUN_IN_SESSION.name] = cut
    make_reachable(rocklet.endpoint())
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    assert await connection.call(RUN_IN_SESSION, RUN) == THROUGH
    assert {seen.request_id for seen in rocklet.seen} == {gateway.asked(RUN_IN_SESSION)[0].request_id}


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (SandboxDied("died", reason=Reason.OOM), SandboxDied),
        (SandboxEnded("its time was up", reason=Reason.MAX_LIFETIME), SandboxEnded),
        (SandboxEnded("nobody knows why"), OutcomeUnknown),
        (StartFailed("lost", reason=Reason.NODE_LOST), OutcomeUnknown),
        (SandboxUnreachable("gone"), OutcomeUnknown),
    ],
    ids=["oom", "max_lifetime", "no reason", "node_lost", "unreachable"],
)
async def test_a_command_whose_rocklet_is_gone_ends_as_its_sandbox_did_or_nobody_knows_how(
    gateway: WireServer, rocklet: WireServer, error: RockException, raised: type[RockException]
) -> None:
    rocklet.answers[RUN_IN_SESSION.name] = cut
    gateway.always(RUN_IN_SESSION, error)
    make_reachable(rocklet.endpoint())
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    with pytest.raises(raised) as caught:
        await connection.call(RUN_IN_SESSION, RUN)
    assert caught.value.reason is error.reason
    assert caught.value.details["executed"] == "unknown"
    assert error.message in caught.value.message


async def test_a_read_that_is_lost_everywhere_is_merely_unreachable(gateway: WireServer, rocklet: WireServer) -> None:
    rocklet.answers[READ_FILE.name] = cut
    gateway.always(READ_FILE, SandboxUnreachable("gone"))
    make_reachable(rocklet.endpoint())
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    with pytest.raises(SandboxUnreachable):
        await connection.call(READ_FILE, m.ReadFileRequest(path="/a"))


async def test_an_answer_of_the_rockletss_own_stands_even_after_a_lost_connection(
    gateway: WireServer, rocklet: WireServer
) -> None:
    rocklet.answers[RUN_IN_SESSION.name] = cut
    gateway.always(RUN_IN_SESSION, FileNotFound("no such file"))
    make_reachable(rocklet.endpoint())
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    with pytest.raises(FileNotFound):
        await connection.call(RUN_IN_SESSION, RUN)


async def test_without_a_gateway_the_direct_way_goes_on(rocklet: WireServer) -> None:
    connection = connect(refused_url())
    connection.learn(rocklet.endpoint())
    assert await connection.call(RUN_IN_SESSION, RUN) == DIRECT


async def test_without_gateway_and_address_nothing_answers() -> None:
    with pytest.raises(GatewayUnreachable):
        await connect(refused_url()).call(RUN_IN_SESSION, RUN)


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_cancelled_call_ends_its_command_before_it_raises(
    gateway: WireServer, rocklet: WireServer, is_direct: bool
) -> None:
    server = rocklet if is_direct else gateway
    arrived = asyncio.Event()

    @server.answer(RUN_IN_SESSION)
    async def _(_seen: Seen) -> m.Observation:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("waited for nothing, and it came")

    connection = connect(gateway, "always" if is_direct else "never")
    calling = asyncio.get_running_loop().create_task(connection.call(RUN_IN_SESSION, RUN))
    await arrived.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    (canceled,) = server.asked(CANCEL)
    assert canceled.request.request_id == server.asked(RUN_IN_SESSION)[0].request_id


async def test_cancelling_a_read_sends_nothing_more(gateway: WireServer) -> None:
    arrived = asyncio.Event()

    @gateway.answer(READ_FILE)
    async def _(_seen: Seen) -> m.FileContent:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("waited for nothing, and it came")

    request = m.ReadFileRequest(path="/a")
    calling = asyncio.get_running_loop().create_task(connect(gateway, "never").call(READ_FILE, request))
    await arrived.wait()
    calling.cancel()
    await asyncio.wait([calling])
    assert not gateway.asked(CANCEL)


async def test_it_pickles_and_copies_after_use(gateway: WireServer, rocklet: WireServer) -> None:
    make_reachable(rocklet.endpoint())
    connection = connect(gateway)
    connection.learn(rocklet.endpoint())
    await connection.call(RUN_IN_SESSION, RUN)
    twins = [pickle.loads(pickle.dumps(connection)), copy.deepcopy(connection)]
    twins.append(cloudpickle.loads(cloudpickle.dumps(connection)))
    for twin in twins:
        assert await twin.call(RUN_IN_SESSION, RUN) == DIRECT


def test_a_fresh_loop_for_every_call_learns_the_direct_way() -> None:
    rocklet, gateway = WireServer(is_gateway=False), WireServer(is_gateway=True)
    rocklet.always(IS_ALIVE, m.RockletStatus(sandbox_id="s1"))
    rocklet.always(RUN_IN_SESSION, DIRECT)
    gateway.always(RUN_IN_SESSION, THROUGH)
    with in_thread(serve(rocklet)), in_thread(serve(gateway)):
        connection = connect(gateway)
        connection.learn(rocklet.endpoint())
        outputs = [asyncio.run(connection.call(RUN_IN_SESSION, RUN)).output for _ in range(20)]
    assert outputs[-1] == "direct"
    assert set(outputs) <= {"direct", "through the gateway"}
