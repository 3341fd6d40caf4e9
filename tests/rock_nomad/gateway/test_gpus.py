"""GPUs as a user sees them: two H100 and one A10G, simulated."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rock.wire.errors import SandboxEnded
from rock.wire.messages import CommandOutput, ExecuteRequest, GetSandboxRequest, SandboxStatus, State
from rock.wire.operations import EXECUTE, GET_SANDBOX, STOP_SANDBOX
from rock.wire.reasons import Reason
from tests.gateways import Gateway

pytestmark = pytest.mark.slow


async def _devices(gateway: Gateway, status: SandboxStatus) -> set[str]:
    """The ids that commands in a sandbox find in their environment."""
    request = ExecuteRequest(command="echo $NVIDIA_VISIBLE_DEVICES")
    ran: CommandOutput = await gateway.call(EXECUTE, request, sandbox_id=status.sandbox_id)
    return set(ran.stdout.strip().split(","))


async def test_cards_are_given_once_a_fourth_sandbox_waits_and_takes_the_first_that_is_free(
    embedded_gateway: Gateway,
) -> None:
    gateway = embedded_gateway
    wanted: list[dict[str, Any]] = [{"gpu_type": "H100"}, {"gpu_type": "H100"}, {"gpu_type": "A10G"}]
    running = await asyncio.gather(*(gateway.create(gpus=1, **each) for each in wanted))
    assert [each.state for each in running] == [State.RUNNING] * 3
    held = [await _devices(gateway, each) for each in running]
    assert len(set.union(*held)) == 3
    assert [set(each.device_ids) for each in running] == held

    waiting = await gateway.create(gpus=1, gpu_type="H100", hold=0)
    assert waiting.state is State.PENDING
    assert "1 without 1 x H100 free" in waiting.message
    await gateway.call(STOP_SANDBOX, sandbox_id=running[0].sandbox_id)
    placed = await gateway.call(GET_SANDBOX, GetSandboxRequest(hold=20), sandbox_id=waiting.sandbox_id)
    assert placed.state is State.RUNNING
    assert await _devices(gateway, placed) == held[0]


async def test_a_sandbox_without_gpus_sees_none(embedded_gateway: Gateway) -> None:
    status = await embedded_gateway.create()
    assert await _devices(embedded_gateway, status) == {""}


@pytest.mark.parametrize("asked", [{"gpu_type": "B200"}, {"gpu_type": "H100", "gpu_memory_bytes": 2**38}, {"gpus": 3}])
async def test_a_card_that_is_not_there_fails_at_once_naming_those_that_are(
    embedded_gateway: Gateway, asked: dict[str, Any]
) -> None:
    with pytest.raises(SandboxEnded) as caught:
        await embedded_gateway.create(**{"gpus": 1, **asked})
    assert caught.value.reason is Reason.IMPOSSIBLE
    assert "NVIDIA A10G, up to 1 on a node; NVIDIA H100 80GB HBM3, up to 2 on a node" in caught.value.message
