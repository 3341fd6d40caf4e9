from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rock._group import SandboxGroup
from rock._sandbox_config import SandboxGroupConfig
from rock.errors import InvalidRequest, StartFailed
from rock.wire import messages as m
from rock.wire.operations import CREATE_SANDBOX, STOP_SANDBOX
from rock.wire.reasons import Reason
from tests.rock.servers import Seen, WireServer, running, serve


@pytest.fixture
async def gateway() -> AsyncIterator[WireServer]:
    async with serve(WireServer(is_gateway=True)) as server:

        @server.answer(CREATE_SANDBOX)
        async def _(seen: Seen) -> m.SandboxStatus:
            return running(seen.request.spec.sandbox_id)

        server.always(STOP_SANDBOX, m.SandboxStatus(sandbox_id="s", state=m.State.STOPPED))
        yield server


def group(gateway: WireServer, **settings: object) -> SandboxGroup:
    return SandboxGroup(SandboxGroupConfig.model_validate({"base_url": gateway.url, "api_key": "secret", **settings}))


async def test_all_members_start_and_stop(gateway: WireServer) -> None:
    members = group(gateway, size=5)
    await members.start()
    ids = [sandbox.sandbox_id for sandbox in members.sandbox_list]
    assert len(set(ids)) == 5
    await members.stop()
    assert len(gateway.asked(STOP_SANDBOX)) == 5


async def test_members_share_the_config_unless_it_has_an_id(gateway: WireServer) -> None:
    shared = group(gateway)
    assert all(sandbox.config is shared.config for sandbox in shared.sandbox_list)
    named = group(gateway, sandbox_id="run")
    await named.start()
    assert [sandbox.sandbox_id for sandbox in named.sandbox_list] == ["run-0", "run-1"]


async def test_no_more_start_at_once_than_allowed(gateway: WireServer) -> None:
    three_are_there = asyncio.Event()
    now: set[str] = set()
    most = 0

    @gateway.answer(CREATE_SANDBOX)
    async def _(seen: Seen) -> m.SandboxStatus:
        nonlocal most
        now.add(seen.request_id)
        most = max(most, len(now))
        if len(now) == 3:
            three_are_there.set()
        await three_are_there.wait()
        now.discard(seen.request_id)
        return running(seen.request.spec.sandbox_id)

    await group(gateway, size=6, start_concurrency=3).start()
    assert most == 3


async def test_one_that_cannot_start_stops_all_that_have_and_raises_its_error(gateway: WireServer) -> None:
    @gateway.answer(CREATE_SANDBOX)
    async def _(seen: Seen) -> m.SandboxStatus:
        if len(gateway.asked(CREATE_SANDBOX)) == 2:
            raise InvalidRequest("no such isolation")
        return running(seen.request.spec.sandbox_id)

    with pytest.raises(InvalidRequest) as caught:
        await group(gateway, size=4, start_concurrency=1).start()
    assert caught.value.details["errors"] == [caught.value]
    assert len(gateway.asked(CREATE_SANDBOX)) == 2  # it is the caller's to fix: no second try, and none for the rest
    assert len(gateway.asked(STOP_SANDBOX)) == 1


async def test_an_error_that_is_not_ours_stops_the_members_too(gateway: WireServer) -> None:
    members = group(gateway, size=2, start_concurrency=1)
    members.sandbox_list[1].config = SandboxGroupConfig.model_construct(image=None)
    with pytest.raises(AttributeError):
        await members.start()
    assert len(gateway.asked(STOP_SANDBOX)) == 1


@pytest.mark.slow
async def test_a_start_that_may_succeed_later_is_tried_again(gateway: WireServer) -> None:
    @gateway.answer(CREATE_SANDBOX)
    async def _(seen: Seen) -> m.SandboxStatus:
        if len(gateway.asked(CREATE_SANDBOX)) == 1:
            raise StartFailed("no room", reason=Reason.NO_CAPACITY)
        return running(seen.request.spec.sandbox_id)

    await group(gateway, size=1).start()
    assert len(gateway.asked(CREATE_SANDBOX)) == 2


@pytest.mark.slow
async def test_the_errors_of_all_members_come_with_the_first(gateway: WireServer) -> None:
    gateway.always(CREATE_SANDBOX, StartFailed("no room", reason=Reason.NO_CAPACITY))
    with pytest.raises(StartFailed) as caught:
        await group(gateway, size=3, start_concurrency=3, start_retry_times=2).start()
    assert len(caught.value.details["errors"]) == 3
