"""Sandboxes that others than their users take away, on real servers: operators, Nomad's scheduler, lost nodes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rock.wire.errors import OutcomeUnknown, RockException, SandboxEnded, SandboxNotFound, StartFailed
from rock.wire.messages import RunRequest, SandboxStatus, State
from rock.wire.operations import CREATE_SESSION, GET_CLOCKS, GET_SANDBOX, LIST_SANDBOXES, RUN_IN_SESSION
from rock.wire.reasons import Reason
from rock_nomad.names import job_id
from rock_nomad.nomad import Nomad
from rock_nomad.status import NODE_DISCONNECTED
from tests.cluster import Cluster, Node
from tests.gateways import Gateway, start_gateway, wait_until_listed
from tests.logs import hearing

pytestmark = [pytest.mark.slow, pytest.mark.needs(nodes=2)]

SECOND = 1_000_000_000


async def _begin(cluster: Cluster, gateway: Gateway, **fields: Any) -> SandboxStatus:  # noqa: ANN401 - a spec's
    """A sandbox of which Nomad, too, says that it runs."""
    created = await gateway.create(**fields)
    await wait_until_listed(cluster, created.sandbox_id)
    return created


async def _allocations(cluster: Cluster, sandbox: SandboxStatus) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        await asyncio.to_thread(cluster.nomad, "GET", f"/v1/job/{job_id(sandbox.sandbox_id)}/allocations")
    ).data
    return rows


async def _wait_stopped(cluster: Cluster, sandbox: SandboxStatus) -> None:
    """Wait until the sandbox's job is stopped, by whomever."""
    await asyncio.to_thread(cluster.wait_for, f"/v1/job/{job_id(sandbox.sandbox_id)}", lambda job: job["Stop"])


async def _wait_ended(cluster: Cluster, sandbox: SandboxStatus) -> None:
    """Wait until the client has reported the end of the allocation that the sandbox began in."""

    def has_ended(rows: list[dict[str, Any]]) -> bool:
        return any(row["ID"] == sandbox.alloc_id and row["ClientStatus"] in ("complete", "failed") for row in rows)

    await asyncio.to_thread(cluster.wait_for, f"/v1/job/{job_id(sandbox.sandbox_id)}/allocations", has_ended)


async def _check_end(gateway: Gateway, sandbox: SandboxStatus, reason: Reason, error: type[RockException]) -> None:
    """The same end by every word: a status, a list, and an action's error."""
    ended = await gateway.call(GET_SANDBOX, sandbox_id=sandbox.sandbox_id)
    assert (ended.state, ended.reason, ended.alloc_id) == (State.STOPPED, reason, sandbox.alloc_id), ended
    listed = {each.sandbox_id: each for each in (await gateway.call(LIST_SANDBOXES)).sandboxes}[sandbox.sandbox_id]
    assert (listed.state, listed.reason, listed.message) == (State.STOPPED, reason, ended.message)
    with pytest.raises(error) as caught:
        await gateway.call(RUN_IN_SESSION, RunRequest(command="true"), sandbox_id=sandbox.sandbox_id)
    assert (caught.value.reason, caught.value.details["executed"]) == (reason, "no")
    assert ended.message in caught.value.message


def _node_of(cluster: Cluster, sandbox: SandboxStatus) -> Node:
    return next(node for node in cluster.nodes if node.name == sandbox.node)


@contextlib.contextmanager
def _without(node: Node) -> Iterator[None]:
    """Without a node's client, as after a power cut or a broken network, until the block ends."""
    node.kill()
    try:
        yield
    finally:
        node.start()


@contextlib.asynccontextmanager
async def _witnessed(cluster: Cluster, sandbox: SandboxStatus) -> AsyncIterator[set[str]]:
    """Every allocation that ever is for a sandbox, by Nomad's event stream, as long as the block lasts."""
    seen: set[str] = set()
    opened = asyncio.Event()

    async def watch(nomad: Nomad) -> None:
        async for batch in nomad.events([f"Allocation:{job_id(sandbox.sandbox_id)}"]):
            opened.set()
            seen.update(event.key for event in batch.events)

    async with Nomad(cluster.nomad_config()) as nomad, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch(nomad))
        await opened.wait()
        yield seen
        watching.cancel()


@contextlib.asynccontextmanager
async def _drained(cluster: Cluster, node: Node) -> AsyncIterator[None]:
    """A node that its operator empties, and gives free again after the block."""
    drain = {"DrainSpec": {"Deadline": 1 * SECOND, "IgnoreSystemJobs": True}}
    assert cluster.nomad("POST", f"/v1/node/{node.node_id}/drain", drain).status == 200
    try:
        yield
    finally:
        cluster.nomad("POST", f"/v1/node/{node.node_id}/drain", {"DrainSpec": None, "MarkEligible": True})


@contextlib.contextmanager
def _preempting(cluster: Cluster) -> Iterator[None]:
    """A cluster in which batch jobs give way to more important ones."""
    path = "/v1/operator/scheduler/configuration"
    before = cluster.nomad("GET", path).data["SchedulerConfig"]
    enabled = {**before, "PreemptionConfig": {**before["PreemptionConfig"], "BatchSchedulerEnabled": True}}
    assert cluster.nomad("PUT", path, enabled).status == 200
    try:
        yield
    finally:
        cluster.nomad("PUT", path, before)


def _important_job(cpu_mhz: int) -> dict[str, Any]:
    task = {
        "Name": "t",
        "Driver": "raw_exec",
        "Config": {"command": "/bin/sleep", "args": ["600"]},
        "Resources": {"CPU": cpu_mhz, "MemoryMB": 32},
    }
    group = {"Name": "g", "Tasks": [task]}
    return {"ID": "important", "Type": "batch", "Priority": 90, "Datacenters": ["*"], "TaskGroups": [group]}


# -------------------------------------------------------------------------------------------------------- lost nodes


async def test_on_a_node_that_never_comes_back_a_sandbox_is_lost_and_stays_so(frail: Cluster) -> None:
    async with start_gateway(frail, node_lost_after=1.0, sweep_interval=0.3) as gateway:
        sandbox = await _begin(frail, gateway)
        clocks = await gateway.call(GET_CLOCKS, sandbox_id=sandbox.sandbox_id)
        with hearing("rock_nomad.sweep", f"sandbox {sandbox.sandbox_id} of tenant team-a ended: node_lost") as said:
            with _without(_node_of(frail, sandbox)):
                os.kill(clocks.pid, signal.SIGKILL)
                await _wait_stopped(frail, sandbox)
                await _check_end(gateway, sandbox, Reason.NODE_LOST, StartFailed)
                await asyncio.wait_for(said.wait(), 10)
            await _wait_ended(frail, sandbox)
        # Its allocation has now ended like any other; only the evaluations tell.
        await _check_end(gateway, sandbox, Reason.NODE_LOST, StartFailed)
        assert len(await _allocations(frail, sandbox)) == 1


async def test_on_a_node_that_comes_back_the_same_sandbox_goes_on_and_no_second_one_ever_begins(
    frail: Cluster,
) -> None:
    async with start_gateway(frail, sweep_interval=0.3) as gateway:
        sandbox = await _begin(frail, gateway)
        path = f"/v1/job/{job_id(sandbox.sandbox_id)}/allocations"
        await gateway.call(CREATE_SESSION, sandbox_id=sandbox.sandbox_id)
        await gateway.call(RUN_IN_SESSION, RunRequest(command="kept=here"), sandbox_id=sandbox.sandbox_id)
        async with _witnessed(frail, sandbox) as allocations:
            with _without(_node_of(frail, sandbox)):
                await asyncio.to_thread(frail.wait_for, path, lambda rows: rows[0]["ClientStatus"] == "unknown")
            await asyncio.to_thread(frail.wait_for, path, lambda rows: rows[0]["ClientStatus"] == "running")
            seen = await gateway.call(RUN_IN_SESSION, RunRequest(command="echo $kept"), sandbox_id=sandbox.sandbox_id)
            status = await gateway.call(GET_SANDBOX, sandbox_id=sandbox.sandbox_id)
        assert seen.output == "here\n"
        assert (status.state, status.alloc_id, status.warnings) == (State.RUNNING, sandbox.alloc_id, sandbox.warnings)
        assert allocations == {sandbox.alloc_id}
        await gateway.call(RUN_IN_SESSION, RunRequest(command="true"), sandbox_id=sandbox.sandbox_id)


async def test_a_sandbox_whose_node_is_cut_off_and_whose_rocklet_answers_goes_on_with_a_warning(
    frail: Cluster,
) -> None:
    async with start_gateway(frail, node_lost_after=1.0, sweep_interval=0.3) as gateway:
        sandbox = await _begin(frail, gateway)
        await gateway.call(CREATE_SESSION, sandbox_id=sandbox.sandbox_id)
        with (
            hearing("rock_nomad.sweep", f"sandbox {sandbox.sandbox_id} lives on") as said,
            _without(_node_of(frail, sandbox)),  # its tasks are not the client's children: they run on
        ):
            await asyncio.wait_for(said.wait(), 30)
            status = await gateway.call(GET_SANDBOX, sandbox_id=sandbox.sandbox_id)
            assert (status.state, NODE_DISCONNECTED in status.warnings) == (State.RUNNING, True)
            seen = await gateway.call(RUN_IN_SESSION, RunRequest(command="echo on"), sandbox_id=sandbox.sandbox_id)
            assert seen.output == "on\n"
            [listed] = (await gateway.call(LIST_SANDBOXES)).sandboxes
            assert (listed.state, NODE_DISCONNECTED in listed.warnings) == (State.RUNNING, True)


# --------------------------------------------------------------------------------------------- operators, schedulers


async def test_a_drained_sandbox_has_ended_and_is_not_begun_elsewhere(frail: Cluster, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    async with start_gateway(frail) as gateway:
        sandbox = await _begin(frail, gateway)
        await gateway.call(CREATE_SESSION, sandbox_id=sandbox.sandbox_id)
        command = RunRequest(command=f"echo > {begun}; sleep 600")
        running = asyncio.ensure_future(gateway.call(RUN_IN_SESSION, command, sandbox_id=sandbox.sandbox_id))
        await asyncio.to_thread(begun.read_text)
        async with _drained(frail, _node_of(frail, sandbox)):
            # Not as if it had been canceled: it is nobody's doing in the sandbox.
            with pytest.raises(OutcomeUnknown) as caught:
                await running
            assert (caught.value.reason, caught.value.details["executed"]) == (Reason.DRAINED, "unknown")
            await _wait_ended(frail, sandbox)
            await _check_end(gateway, sandbox, Reason.DRAINED, StartFailed)
            assert len(await _allocations(frail, sandbox)) == 1


async def test_a_preempted_sandbox_is_not_begun_anew_when_there_is_room_again(frail: Cluster) -> None:
    # So rare a sweep that it is the event stream that ends it.
    async with start_gateway(frail, sweep_interval=1000.0) as gateway:
        with _preempting(frail):
            each = 0.9 * gateway.cpus
            sandboxes = [await _begin(frail, gateway, cpus=each) for _ in frail.nodes]
            important = _important_job(int(each * 1000))
            assert frail.nomad("POST", "/v1/job/important", {"Job": important}).status == 200
            try:
                preempted = await _one_stopped(frail, sandboxes)
                await _wait_ended(frail, preempted)
                await _check_end(gateway, preempted, Reason.PREEMPTED, StartFailed)
            finally:
                evaluation = frail.nomad("DELETE", "/v1/job/important?purge=true").data["EvalID"]
            await asyncio.to_thread(
                frail.wait_for, f"/v1/evaluation/{evaluation}", lambda row: row["Status"] == "complete"
            )
            await _check_end(gateway, preempted, Reason.PREEMPTED, StartFailed)
            assert {row["ClientStatus"] for row in await _allocations(frail, preempted)} == {"complete"}


async def _one_stopped(cluster: Cluster, sandboxes: list[SandboxStatus]) -> SandboxStatus:
    """The first of these whose job is stopped."""
    waits = {asyncio.ensure_future(_wait_stopped(cluster, each)): each for each in sandboxes}
    done, _rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return waits[done.pop()]


async def test_a_sandbox_whose_allocation_an_operator_stops_is_not_begun_anew(frail: Cluster) -> None:
    async with start_gateway(frail, sweep_interval=1000.0) as gateway:
        sandbox = await _begin(frail, gateway)
        assert frail.nomad("POST", f"/v1/allocation/{sandbox.alloc_id}/stop").status == 200
        await _wait_stopped(frail, sandbox)
        await _wait_ended(frail, sandbox)
        await _check_end(gateway, sandbox, Reason.DRAINED, StartFailed)


async def test_a_job_that_an_operator_stops_was_stopped_by_request(frail: Cluster) -> None:
    async with start_gateway(frail) as gateway:
        sandbox = await _begin(frail, gateway)
        environment = {"PATH": os.environ["PATH"], "NOMAD_ADDR": frail.nomad_url, "NOMAD_TOKEN": frail.nomad_token}
        stop = ["nomad", "job", "stop", "-yes", job_id(sandbox.sandbox_id)]
        await asyncio.to_thread(subprocess.run, stop, env=environment, check=True, capture_output=True)
        await _wait_ended(frail, sandbox)
        await _check_end(gateway, sandbox, Reason.USER, SandboxEnded)


@pytest.mark.parametrize("how", ["purged", "collected"])
async def test_what_nomad_has_forgotten_is_unknown(frail: Cluster, how: str) -> None:
    async with start_gateway(frail) as gateway:
        sandbox = await _begin(frail, gateway)
        query = "?purge=true" if how == "purged" else ""
        process = os.pidfd_open((await gateway.call(GET_CLOCKS, sandbox_id=sandbox.sandbox_id)).pid)
        frail.nomad("DELETE", f"/v1/job/{job_id(sandbox.sandbox_id)}{query}")
        await asyncio.to_thread(select.select, [process], [], [], 20)  # readable when it has ended
        os.close(process)
        if how == "collected":
            await _wait_ended(frail, sandbox)
            while frail.nomad("GET", f"/v1/job/{job_id(sandbox.sandbox_id)}").status == 200:
                frail.nomad("PUT", "/v1/system/gc")  # it takes what has ended, as soon as its evaluations have
        sentence = "unknown, or ended longer ago than the cluster keeps"
        with pytest.raises(SandboxNotFound, match=sentence):
            await gateway.call(GET_SANDBOX, sandbox_id=sandbox.sandbox_id)
        with pytest.raises(SandboxNotFound, match=sentence):
            await gateway.call(RUN_IN_SESSION, RunRequest(command="true"), sandbox_id=sandbox.sandbox_id)
