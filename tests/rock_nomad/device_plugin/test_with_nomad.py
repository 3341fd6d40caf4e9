"""The plugin under a real Nomad that is killed, or whose agent is, beside sandboxes that hold devices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rock.wire.messages import ExecuteRequest
from rock.wire.operations import EXECUTE
from rock_nomad.config import load_gateway_config
from rock_nomad.device_plugin.installation import install
from rock_nomad.device_plugin.plugin import NAME
from rock_nomad.doctor.findings import Verdict
from rock_nomad.doctor.node_checks import check_gpus
from rock_nomad.doctor.reading import read_facts
from tests.gateways import Gateway, start_gateway, write_config
from tests.gpus import A10G, A10GS, H100, H100S, Gpus, run_plugin_cluster
from tests.processes import pids_of

pytestmark = [pytest.mark.slow, pytest.mark.needs("device plugins")]

_SOON = 60.0  # seconds


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rock-gpus-") as folder:
        install(Path(folder) / "plugins")
        yield Path(folder)


@pytest.fixture(scope="module")
def gpus(folder: Path) -> Iterator[Gpus]:
    with run_plugin_cluster(folder) as gpus:
        yield gpus


@pytest.fixture
async def gateway(gpus: Gpus) -> AsyncIterator[Gateway]:
    async with start_gateway(gpus.cluster) as gateway:
        yield gateway


def _plugin(folder: Path) -> int:
    (process,) = pids_of(f"{sys.executable} -I {folder}/plugins/{NAME}")
    return process


@contextlib.asynccontextmanager
async def _ending(process: int) -> AsyncIterator[None]:
    """At the end of the block, wait until a process that is no child of ours has ended."""
    descriptor, over = os.pidfd_open(process), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        yield
        async with asyncio.timeout(_SOON):
            await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_plugin_that_is_killed_comes_back_and_sandboxes_do_not_notice(
    gateway: Gateway, gpus: Gpus, folder: Path, number: signal.Signals
) -> None:
    running = await gateway.create(gpus=1, gpu_type="H100")
    request = ExecuteRequest(command="sleep 1; echo $CUDA_VISIBLE_DEVICES")
    async with asyncio.TaskGroup() as commands:
        command = commands.create_task(gateway.call(EXECUTE, request, sandbox_id=running.sandbox_id))
        killed = _plugin(folder)
        async with _ending(killed):
            os.kill(killed, number)
    assert command.result().stdout.strip() in H100S
    # It is there again when it reserves, and when it is followed.
    second = await gateway.create(gpus=1, gpu_type="H100")
    assert {*running.device_ids, *second.device_ids} == set(H100S)
    assert _plugin(folder) != killed
    await asyncio.to_thread(gpus.make_sick, GPU_simulated_1_0="XID 79")
    await asyncio.to_thread(gpus.make_sick)


async def test_an_agent_that_is_killed_takes_its_plugin_along_and_finds_its_sandboxes_again(
    gateway: Gateway, gpus: Gpus, folder: Path
) -> None:
    running = await gateway.create(gpus=1, gpu_type="A10G")
    (node,) = gpus.cluster.nodes
    async with _ending(_plugin(folder)):
        await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)
    ran = await gateway.call(
        EXECUTE, ExecuteRequest(command="echo $CUDA_VISIBLE_DEVICES"), sandbox_id=running.sandbox_id
    )
    assert ran.stdout.strip() == A10GS[0]
    await asyncio.to_thread(gpus.make_sick, GPU_simulated_0_1="XID 79")
    await asyncio.to_thread(gpus.make_sick)


async def test_the_doctor_names_a_sick_card(gpus: Gpus, tmp_path: Path) -> None:
    await asyncio.to_thread(gpus.make_sick, GPU_simulated_0_1="XID 79")
    facts = await read_facts(load_gateway_config(write_config(tmp_path, gpus.cluster)))
    (finding,) = check_gpus(facts)
    assert finding.verdict is Verdict.WARNING
    assert f"1 x {A10G}, 2 x {H100}; sick: {H100S[1]} ({H100}) on " in finding.sentence
    assert finding.sentence.endswith(": XID 79")
    await asyncio.to_thread(gpus.make_sick)


def test_statistics_are_the_nodes(gpus: Gpus) -> None:
    (node,) = gpus.cluster.nodes
    deadline = time.monotonic() + _SOON
    groups = None
    while not groups and time.monotonic() < deadline:  # they are no state, so that nothing tells of them
        groups = gpus.cluster.nomad("GET", f"/v1/client/stats?node_id={node.node_id}").data["DeviceStats"]
    by_model = {group["Name"]: group["InstanceStats"] for group in groups or ()}
    assert by_model[H100].keys() == set(H100S)
    assert by_model[H100][H100S[0]]["Summary"]["IntDenominatorVal"] == 81559
