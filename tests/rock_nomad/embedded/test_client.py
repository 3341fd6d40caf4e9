from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rock_nomad.embedded.catalog import Catalog
from rock_nomad.embedded.checks import CheckPoller
from rock_nomad.embedded.client import Client
from rock_nomad.embedded.drivers.driver import Capabilities, Driver, Mount, TaskSpec
from rock_nomad.embedded.drivers.mock import MockDriver, MockTask
from rock_nomad.embedded.scheduler import Scheduler
from rock_nomad.embedded.state import State
from rock_nomad.embedded.units import SECOND
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

pytestmark = pytest.mark.slow

Row = dict[str, Any]


class Bench:
    """A client with the mock driver, on a state of its own."""

    def __init__(self, data_dir: Path, driver: Driver | None = None) -> None:
        self.state = State(make_node())
        self.scheduler = Scheduler(self.state, lambda _port: True)
        self.catalog = Catalog("id", "vm")
        self.client = Client(self.scheduler, self.catalog, {"mock_driver": driver or MockDriver()}, data_dir)

    def register(self, job_id: str, config: Row, *, task: Row | None = None, **group: object) -> None:
        job = canonical_job(job_id, MemoryMB=10)
        job["TaskGroups"][0] |= group
        job["TaskGroups"][0]["Tasks"][0] |= {"Config": config, **(task or {})}
        self.scheduler.register(job, enforce_index=True, job_modify_index=0)

    async def wait(self, job_id: str, is_there: Callable[[Row], bool]) -> Row:
        async with asyncio.timeout(10):
            while not is_there(row := self.state.allocations_of(job_id)[0]):
                await self.state.watches.wait(("allocs", job_id))
        return row


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        bench.client.open(tasks, CheckPoller(bench.catalog, session))
        yield bench
        await bench.client.close()
    assert bench.scheduler.usage.memory_mb == 0
    assert bench.catalog.services() == {"consul": []}


def has(status: str) -> Callable[[Row], bool]:
    return lambda row: bool(row["ClientStatus"] == status)


async def test_a_task_runs_to_its_end(bench: Bench) -> None:
    bench.register("a", {"run_for": "150ms"})
    await bench.wait("a", has("running"))
    row = await bench.wait("a", has("complete"))
    assert [event["Type"] for event in row["TaskStates"]["rocklet"]["Events"]] == [
        "Received", "Task Setup", "Started", "Terminated",
    ]  # fmt: skip
    assert bench.state.jobs["a"]["Status"] == "dead"


async def test_services_live_as_long_as_their_task(bench: Bench) -> None:
    meta = {"alloc": "${NOMAD_ALLOC_ID}"}
    service: Row = {"Name": "svc-${NOMAD_ALLOC_INDEX}", "PortLabel": "", "Meta": meta, "Tags": None, "Checks": None}
    service |= {"Provider": "consul"}
    bench.register("a", {"run_for": "1h"}, task={"Services": [service]})
    row = await bench.wait("a", has("running"))
    (found,) = bench.catalog.health("svc-0", passing=False)
    assert found["Service"]["Meta"] == {"alloc": row["ID"], "external-source": "nomad"}
    bench.scheduler.deregister("a", purge=False)
    await bench.wait("a", has("complete"))
    assert bench.catalog.health("svc-0", passing=False) == []


async def test_a_driver_that_refuses_fails_the_allocation(bench: Bench) -> None:
    bench.register("a", {"start_error": "boom"})
    row = await bench.wait("a", has("failed"))
    assert row["TaskStates"]["rocklet"]["Events"][2]["DriverError"] == "boom"


async def test_an_allocation_ends_at_its_age(bench: Bench) -> None:
    bench.register("a", {"run_for": "1h"}, MaxRunDuration=SECOND // 5)
    row = await bench.wait("a", has("complete"))
    assert row["ClientDescription"] == "allocation exceeded max_run_duration"


async def test_a_stop_while_the_driver_starts_ends_it_after_the_start(bench: Bench) -> None:
    bench.register("a", {"run_for": "1h", "start_block_for": "250ms"})
    await bench.wait("a", lambda row: "TaskStates" in row)
    bench.scheduler.deregister("a", purge=False)
    row = await bench.wait("a", has("complete"))
    types = [event["Type"] for event in row["TaskStates"]["rocklet"]["Events"]]
    assert types == ["Received", "Task Setup", "Killing", "Started", "Terminated", "Killed"]


class Listener:
    """A driver that tells, and keeps what it was told."""

    capabilities = Capabilities({"driver.mock_driver": "1"}, needs_directories=False, brings_files=True)

    def __init__(self) -> None:
        self.told: list[TaskSpec] = []

    async def start(self, spec: TaskSpec) -> MockTask:
        spec.say("Downloading image", {"image": "box:1"})
        self.told.append(spec)
        return MockTask({"run_for": "1ms"})

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_driver_is_told_secrets_ports_and_mounts_and_tells_what_goes_on(tmp_path: Path) -> None:
    driver = Listener()
    bench = Bench(tmp_path, driver)
    bench.state.node["HostVolumes"] = {"rocklet": {"Path": "/opt/bundle", "ReadOnly": True}}
    bench.state.put_variable("nomad/jobs/a", {"word": '"a \\"b\\"\\u00e9"', "plain": "c"}, 0)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        bench.client.open(tasks, CheckPoller(bench.catalog, session))
        secret = {"Name": "registry", "Provider": "nomad", "Path": "nomad/jobs/a"}
        mount = {"Volume": "v", "Destination": "/opt/rocklet", "ReadOnly": True}
        bench.register(
            "a",
            {"word": "${secret.registry.word}", "plain": "${secret.registry.plain}", "port": "${NOMAD_PORT_web}"},
            task={"Secrets": [secret], "VolumeMounts": [mount], "Env": {"WORD": "${secret.registry.word}"}},
            Volumes={"v": {"Type": "host", "Source": "rocklet", "ReadOnly": True, "PerAlloc": False}},
            Networks=[{"Mode": "host", "DynamicPorts": [{"Label": "web", "To": 80}]}],
        )
        row = await bench.wait("a", has("complete"))
        await bench.client.close()
    (spec,) = driver.told
    assert spec.config == {"word": 'a "b"é', "plain": "c", "port": "80"}
    assert spec.environment["WORD"] == "${secret.registry.word}"
    assert spec.mounts == (Mount("/opt/bundle", "/opt/rocklet", is_read_only=True),)
    assert spec.ports["web"].inside == 80
    said = row["TaskStates"]["rocklet"]["Events"][2]
    assert (said["Type"], said["DriverMessage"], said["Details"]) == ("Driver", "Downloading image", {"image": "box:1"})


async def test_a_secret_that_is_not_there_fails_the_allocation(bench: Bench) -> None:
    bench.register("a", {}, task={"Secrets": [{"Name": "registry", "Provider": "nomad", "Path": "nomad/jobs/a"}]})
    row = await bench.wait("a", has("failed"))
    assert "no variable at nomad/jobs/a" in row["TaskStates"]["rocklet"]["Events"][2]["DisplayMessage"]


async def test_reports_are_sent_together(bench: Bench) -> None:
    before = bench.state.index
    for n in range(20):
        bench.register(f"j{n}", {"run_for": "1h"})
    for n in range(20):
        await bench.wait(f"j{n}", has("running"))
    # Three changes for each registration, and few for all the reports.
    assert bench.state.index - before <= 20 * 3 + 5


async def test_a_closed_client_ends_all_and_starts_nothing_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        bench.client.open(tasks, CheckPoller(bench.catalog, session))
        for n in range(3):
            job = canonical_job(f"j{n}", MemoryMB=5000)
            job["TaskGroups"][0]["Tasks"][0]["Config"] = {"run_for": "1h"}
            bench.scheduler.register(job, enforce_index=True, job_modify_index=0)
        await bench.wait("j0", has("running"))
        async with asyncio.timeout(60):
            await bench.client.close()
    assert [len(bench.state.allocations_of(f"j{n}")) for n in range(3)] == [1, 0, 0]


async def test_a_client_that_is_not_open_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(RuntimeError, match="not open"):
        bench.register("a", {})
