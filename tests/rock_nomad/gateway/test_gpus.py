"""GPUs as a user sees them, on a cluster of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rock.wire.errors import InvalidRequest, SandboxEnded
from rock.wire.messages import CommandOutput, ExecuteRequest, GetSandboxRequest, SandboxStatus, State
from rock.wire.operations import EXECUTE, GET_SANDBOX, STOP_SANDBOX
from rock.wire.reasons import Reason
from tests.bundles import need_bundle
from tests.engine import Engine
from tests.gateways import Gateway, start_gateway
from tests.gpus import A10GS, H100S, Gpus

pytestmark = pytest.mark.slow


@pytest.fixture
async def gateway(gpus: Gpus) -> AsyncIterator[Gateway]:
    async with start_gateway(gpus.cluster) as gateway:
        yield gateway


async def _devices(gateway: Gateway, status: SandboxStatus) -> set[str]:
    """The ids that commands in a sandbox find in their environment."""
    request = ExecuteRequest(command="echo $CUDA_VISIBLE_DEVICES")
    ran: CommandOutput = await gateway.call(EXECUTE, request, sandbox_id=status.sandbox_id)
    return set(ran.stdout.strip().split(","))


async def _wait_running(gateway: Gateway, status: SandboxStatus) -> SandboxStatus:
    placed = await gateway.call(GET_SANDBOX, GetSandboxRequest(hold=20), sandbox_id=status.sandbox_id)
    assert placed.state is State.RUNNING
    return placed


async def test_cards_are_given_once_and_a_fourth_sandbox_waits_for_the_first_that_is_free(gateway: Gateway) -> None:
    wanted: list[dict[str, Any]] = [{"gpu_type": "H100"}, {"gpu_type": "H100"}, {"gpu_type": "A10G"}]
    running = await asyncio.gather(*(gateway.create(gpus=1, **each) for each in wanted))
    assert [each.state for each in running] == [State.RUNNING] * 3
    held = [await _devices(gateway, each) for each in running]
    assert set.union(*held) == {*H100S, *A10GS}
    assert held[2] == {*A10GS}
    assert [set(each.device_ids) for each in running] == held

    waiting = await gateway.create(gpus=1, gpu_type="H100", hold=0)
    assert waiting.state is State.PENDING
    assert "1 without 1 x H100 free" in waiting.message
    await gateway.call(STOP_SANDBOX, sandbox_id=running[0].sandbox_id)
    assert await _devices(gateway, await _wait_running(gateway, waiting)) == held[0]


async def test_a_sandbox_may_have_several_cards_of_one_model(gateway: Gateway) -> None:
    status = await gateway.create(gpus=2)
    assert await _devices(gateway, status) == set(status.device_ids) == set(H100S)


async def test_a_container_is_told_its_cards_too(gateway: Gateway, engine: Engine) -> None:
    need_bundle()
    status = await gateway.create(gpus=1, gpu_type="A10G", isolation="runc", image=engine.busybox)
    assert await _devices(gateway, status) == {*A10GS}


async def test_a_container_without_gpus_is_told_to_see_none(gateway: Gateway, engine: Engine) -> None:
    """Whatever its image says: images made for GPUs say that they want all."""
    need_bundle()
    status = await gateway.create(isolation="runc", image=engine.busybox)
    request = ExecuteRequest(command="echo $NVIDIA_VISIBLE_DEVICES")
    assert (await gateway.call(EXECUTE, request, sandbox_id=status.sandbox_id)).stdout.strip() == "void"


async def test_a_sandbox_without_gpus_sees_none(gateway: Gateway) -> None:
    assert await _devices(gateway, await gateway.create()) == {""}


@pytest.mark.parametrize("asked", [{"gpu_type": "B200"}, {"gpu_type": "H100", "gpu_memory_bytes": 2**38}, {"gpus": 3}])
async def test_a_card_that_is_not_there_fails_at_once_naming_those_that_are(
    gateway: Gateway, asked: dict[str, Any]
) -> None:
    with pytest.raises(SandboxEnded) as caught:
        await gateway.create(**{"gpus": 1, **asked})
    assert caught.value.reason is Reason.IMPOSSIBLE
    assert "NVIDIA A10G, up to 1 on a node; NVIDIA H100 80GB HBM3, up to 2 on a node" in caught.value.message


async def test_a_job_cannot_name_the_cards_it_sees(gateway: Gateway) -> None:
    with pytest.raises(InvalidRequest, match="NVIDIA_VISIBLE_DEVICES"):
        await gateway.create(env={"NVIDIA_VISIBLE_DEVICES": "all"})


async def test_a_sick_card_is_not_given_out_and_is_when_it_is_well(gateway: Gateway, gpus: Gpus) -> None:
    await asyncio.to_thread(gpus.make_sick, GPU_simulated_0_0="XID 79")
    running = await gateway.create(gpus=1, gpu_type="H100")
    assert await _devices(gateway, running) == {H100S[1]}
    waiting = await gateway.create(gpus=1, gpu_type="H100", hold=0)
    assert waiting.state is State.PENDING
    assert "1 of 2 NVIDIA H100 80GB HBM3 sick on " in waiting.message
    await asyncio.to_thread(gpus.make_sick)
    assert await _devices(gateway, await _wait_running(gateway, waiting)) == {H100S[0]}


async def test_a_sandbox_that_waits_because_every_card_is_sick_starts_when_one_is_well(
    gateway: Gateway, gpus: Gpus
) -> None:
    """Nomad alone would never try it again: the plugin's count of those that are well makes it."""
    await asyncio.to_thread(gpus.make_sick, GPU_simulated_1_0="XID 79")
    waiting = await gateway.create(gpus=1, gpu_type="A10G", hold=0)
    assert waiting.state is State.PENDING
    assert "1 of 1 NVIDIA A10G sick on " in waiting.message
    await asyncio.to_thread(gpus.make_sick)
    assert await _devices(gateway, await _wait_running(gateway, waiting)) == {*A10GS}


async def test_a_card_that_falls_ill_stays_with_its_sandbox(gateway: Gateway, gpus: Gpus) -> None:
    running = await gateway.create(gpus=1, gpu_type="A10G")
    await asyncio.to_thread(gpus.make_sick, GPU_simulated_1_0="XID 79")
    assert await _devices(gateway, running) == {*A10GS}
