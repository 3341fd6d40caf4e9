from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rock_nomad.device_plugin.simulation import SimulatedHardware, parse_models
from rock_nomad.embedded import hardware
from rock_nomad.embedded.hardware import follow_hardware
from rock_nomad.embedded.scheduler import Scheduler
from rock_nomad.embedded.state import State
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

pytestmark = pytest.mark.slow

_CARD = "GPU-simulated-0-0"


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def scheduler(state_file: Path) -> AsyncIterator[Scheduler]:
    """Over a node with one card, that is followed."""
    scheduler = Scheduler(State(make_node(gpus="A:1")), lambda _port: True)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow_hardware(SimulatedHardware(parse_models("A:1"), state_file), scheduler))
        yield scheduler
        following.cancel()


async def _wait_change(scheduler: Scheduler) -> None:
    index = scheduler.state.index
    async with asyncio.timeout(60):
        await scheduler.state.watches.wait(("node", scheduler.state.node["ID"]))
    assert scheduler.state.index > index


async def test_what_waits_for_a_sick_card_is_placed_when_it_is_well(scheduler: Scheduler, state_file: Path) -> None:
    classes = [scheduler.state.node["ComputedClass"]]
    state_file.write_text(json.dumps({"sick": {_CARD: "XID 79"}}))
    await _wait_change(scheduler)
    classes.append(scheduler.state.node["ComputedClass"])
    asked = [{"Name": "nvidia/gpu", "Count": 1, "Constraints": None}]
    scheduler.register(canonical_job(Devices=asked), enforce_index=True, job_modify_index=0)
    assert scheduler.state.allocations == {}
    state_file.unlink()
    await _wait_change(scheduler)
    (allocation,) = scheduler.state.allocations.values()
    assert allocation["AllocatedResources"]["Tasks"]["rocklet"]["Devices"][0]["DeviceIDs"] == [_CARD]
    assert len({*classes, scheduler.state.node["ComputedClass"]}) == 3


class _Heard(logging.Handler):
    """Sets an event at the first line."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        assert "stay as they were" in record.getMessage()
        self.event.set()


async def test_a_state_that_cannot_be_read_leaves_the_devices_as_they_were(
    scheduler: Scheduler, state_file: Path
) -> None:
    devices, heard = scheduler.state.node["NodeResources"]["Devices"], _Heard()
    hardware.log.addHandler(heard)
    state_file.write_text("{")
    async with asyncio.timeout(60):
        await heard.event.wait()
    hardware.log.removeHandler(heard)
    assert scheduler.state.node["NodeResources"]["Devices"] == devices
    state_file.write_text(json.dumps({"missing": [_CARD]}))
    await _wait_change(scheduler)
    assert scheduler.state.node["NodeResources"]["Devices"] is None
