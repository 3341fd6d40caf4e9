from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from rock._config import GatewayAddress
from rock._gateway import Gateway
from rock._start import start_sandbox
from rock.errors import (
    GatewayUnreachable,
    IdInUse,
    OutcomeUnknown,
    SandboxEnded,
    SandboxNotFound,
    StartFailed,
)
from rock.wire import messages as m
from rock.wire.operations import CREATE_SANDBOX, GET_SANDBOX, STOP_SANDBOX
from rock.wire.reasons import Reason
from rock.wire.spec import SandboxSpec
from tests.rock.servers import Seen, WireServer, refused_url, running, serve

SPEC = SandboxSpec(sandbox_id="s1", startup_timeout=30)
PENDING = m.SandboxStatus(sandbox_id="s1", state=m.State.PENDING, message="queued")
STOPPED = m.SandboxStatus(sandbox_id="s1", state=m.State.STOPPED, reason=Reason.USER)


@pytest.fixture
async def gateway() -> AsyncIterator[WireServer]:
    async with serve(WireServer(is_gateway=True)) as server:
        server.always(CREATE_SANDBOX, PENDING)
        server.always(GET_SANDBOX, running())
        server.always(STOP_SANDBOX, STOPPED)
        yield server


def start(gateway: WireServer, spec: SandboxSpec = SPEC) -> asyncio.Task[m.SandboxStatus]:
    return asyncio.get_running_loop().create_task(start_sandbox(at(gateway.url), spec))


def at(url: str) -> Gateway:
    return Gateway(GatewayAddress(url=url, api_key="secret"))


async def test_it_waits_until_the_sandbox_runs(gateway: WireServer) -> None:
    answers = iter([PENDING, PENDING, running()])

    @gateway.answer(GET_SANDBOX)
    async def _(_seen: Seen) -> m.SandboxStatus:
        return next(answers)

    shown: list[m.SandboxStatus] = []
    status = await start_sandbox(at(gateway.url), SPEC, on_status=shown.append)
    assert status.state is m.State.RUNNING
    assert shown == [PENDING] * 3
    assert all(seen.request.hold == 20 for seen in gateway.seen)
    assert not gateway.asked(STOP_SANDBOX)


async def test_a_sandbox_that_ended_raises_its_end_and_is_not_stopped_again(gateway: WireServer) -> None:
    gateway.always(GET_SANDBOX, m.SandboxStatus(sandbox_id="s1", state=m.State.STOPPED, reason=Reason.IMAGE_NOT_FOUND))
    with pytest.raises(SandboxEnded) as caught:
        await start(gateway)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND
    assert not gateway.asked(STOP_SANDBOX)


@pytest.mark.parametrize(
    ("told", "reason"), [(Reason.NO_CAPACITY, Reason.NO_CAPACITY), (Reason.USER, Reason.STARTUP_TIMEOUT)]
)
async def test_one_that_does_not_start_in_time_is_stopped_and_the_stop_tells_the_reason(
    gateway: WireServer, told: Reason, reason: Reason
) -> None:
    gateway.always(GET_SANDBOX, PENDING)
    gateway.always(STOP_SANDBOX, m.SandboxStatus(sandbox_id="s1", state=m.State.STOPPED, reason=told))
    with pytest.raises(StartFailed, match="queued") as caught:
        await start(gateway, msgspec.structs.replace(SPEC, startup_timeout=0.01))
    assert caught.value.reason is reason
    assert len(gateway.asked(STOP_SANDBOX)) == 1


async def test_a_start_that_is_cancelled_while_it_waits_is_stopped(gateway: WireServer) -> None:
    waiting = asyncio.Event()

    @gateway.answer(GET_SANDBOX)
    async def _(_seen: Seen) -> m.SandboxStatus:
        waiting.set()
        await asyncio.Event().wait()
        return PENDING

    starting = start(gateway)
    await waiting.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(gateway.asked(STOP_SANDBOX)) == 1


async def test_a_stop_that_overtakes_the_create_is_sent_again(gateway: WireServer) -> None:
    arrived, overtaken = asyncio.Event(), asyncio.Event()

    @gateway.answer(CREATE_SANDBOX)
    async def _(_seen: Seen) -> m.SandboxStatus:
        arrived.set()
        await overtaken.wait()
        return PENDING

    @gateway.answer(STOP_SANDBOX)
    async def _(_seen: Seen) -> m.SandboxStatus:
        if overtaken.is_set():
            return STOPPED
        overtaken.set()
        raise SandboxNotFound("not yet")

    starting = start(gateway)
    await arrived.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(gateway.asked(CREATE_SANDBOX)) == 1
    assert len(gateway.asked(STOP_SANDBOX)) == 2


async def test_a_create_with_an_unknown_outcome_is_undone(gateway: WireServer) -> None:
    @gateway.answer(CREATE_SANDBOX)
    async def _(seen: Seen) -> m.SandboxStatus:
        seen.cut()
        return PENDING

    with pytest.raises(OutcomeUnknown):
        await start(gateway)
    assert len(gateway.asked(STOP_SANDBOX)) == 1


async def test_a_create_that_was_refused_stops_nobody_elses_sandbox(gateway: WireServer) -> None:
    gateway.always(CREATE_SANDBOX, IdInUse("another's"))
    with pytest.raises(IdInUse):
        await start(gateway)
    assert not gateway.asked(STOP_SANDBOX)


async def test_without_a_gateway_nothing_is_started() -> None:
    with pytest.raises(GatewayUnreachable):
        await start_sandbox(at(refused_url()), SPEC)


@pytest.mark.slow
async def test_a_gateway_that_is_away_for_a_moment_does_not_fail_the_start(gateway: WireServer) -> None:
    @gateway.answer(GET_SANDBOX)
    async def _(seen: Seen) -> m.SandboxStatus:
        if len(gateway.asked(GET_SANDBOX)) <= 2:
            seen.cut()
        return running()

    assert (await start(gateway)).state is m.State.RUNNING
