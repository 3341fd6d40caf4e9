"""Sandboxes in containers, whole: through a gateway, by the embedded cluster's word and by a real Nomad's."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rock.wire.errors import RockException, SandboxDied
from rock.wire.messages import ExecuteRequest, GetSandboxRequest, Phase, SandboxStatus, State
from rock.wire.operations import EXECUTE, GET_SANDBOX, STOP_SANDBOX
from rock.wire.reasons import Reason
from rock.wire.spec import Registry
from rock_nomad.names import new_sandbox_id
from tests.bundles import need_bundle
from tests.cluster import Cluster
from tests.engine import IMAGE_PATH, PASSWORD, USERNAME, Engine
from tests.engine import Registry as ImageRegistry
from tests.gateways import Gateway, start_gateway
from tests.rl_rock import run_sample

pytestmark = pytest.mark.slow

MEMORY = 128 * 2**20


@pytest.fixture
async def gateway(cluster: Cluster, engine: Engine) -> AsyncIterator[Gateway]:
    """A gateway that puts sandboxes into containers; none of them outlives the test."""
    need_bundle()
    limits = {"pids_limit": 99, "tmpfs": {"/scratch": 2**20}, "ulimits": {"nofile": "512:1024"}}
    async with start_gateway(cluster, default_isolation="runc", container=limits, sweep_interval=0.2) as gateway:
        yield gateway
    async with asyncio.timeout(60):
        while _ours(engine):  # noqa: ASYNC110 - the engine is asked, since containers end after Nomad's word
            await asyncio.sleep(0.1)


def _ours(engine: Engine, sandbox_id: str = "") -> list[str]:
    """The containers of sandboxes of this module's images."""
    label = f"com.rock-nomad.sandbox_id={sandbox_id}" if sandbox_id else "com.rock-nomad.sandbox_id"
    found = engine.client.containers(all=True, filters={"label": [label, f"rock-nomad-tests={engine.run}"]})
    return [str(one["Id"]) for one in found]


async def _run(gateway: Gateway, sandbox_id: str, *command: str) -> str:
    ran = await gateway.call(EXECUTE, ExecuteRequest(command=list(command)), sandbox_id=sandbox_id)
    assert ran.exit_code == 0, ran
    return ran.stdout


async def _settled(gateway: Gateway, sandbox_id: str) -> SandboxStatus:
    while True:
        status = await gateway.call(GET_SANDBOX, GetSandboxRequest(hold=20.0), sandbox_id=sandbox_id)
        if status.state is not State.PENDING:
            return status


async def _create(gateway: Gateway, sandbox_id: str | None = None, **fields: Any) -> SandboxStatus:  # noqa: ANN401
    """A sandbox that is no longer pending, however loaded the machine is; `fields` are its spec's."""
    created = await gateway.create(sandbox_id, **{"memory_bytes": MEMORY, **fields})
    return created if created.state is not State.PENDING else await _settled(gateway, created.sandbox_id)


async def test_a_sandbox_is_its_image_and_no_more_than_it_may_be(gateway: Gateway, engine: Engine) -> None:
    created = await _create(gateway, image=engine.busybox, shm_bytes=2**21)
    assert created.state is State.RUNNING
    assert created.phases["image_pull"].status is Phase.SUCCESS
    script = (
        "id -u; ls /bin/busybox; ulimit -n; df -m /dev/shm /scratch | awk 'NR>1 {print $2}'; "
        "grep -E 'CapEff|NoNewPrivs' /proc/self/status; cat /proc/1/comm; touch /opt/rocklet/x || echo locked"
    )
    said = (await _run(gateway, created.sandbox_id, "/bin/sh", "-c", script)).split()
    assert said[:5] == ["0", "/bin/busybox", "512", "2", "1"]
    assert said[5:9] == ["CapEff:", "00000000000000eb", "NoNewPrivs:", "1"]
    assert said[9:] == ["docker-init", "locked"]
    (container,) = _ours(engine, created.sandbox_id)
    told = engine.client.inspect_container(container)
    assert (told["HostConfig"]["PidsLimit"], told["HostConfig"]["Memory"]) == (99, MEMORY)
    assert told["Config"]["Labels"]["com.rock-nomad.tenant"] == "team-a"
    assert not told["HostConfig"]["Privileged"]


async def test_commands_are_told_what_the_image_says_and_nothing_the_rocklet_was(
    gateway: Gateway, engine: Engine
) -> None:
    created = await _create(gateway, image=engine.busybox, env={"COLOUR": "red"})
    told = dict(line.split("=", 1) for line in (await _run(gateway, created.sandbox_id, "env")).splitlines())
    assert told == {
        "HOSTNAME": (await _run(gateway, created.sandbox_id, "hostname")).strip(),
        "PATH": IMAGE_PATH,
        "COLOUR": "red",
        "HOME": "/root",
        "USER": "root",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NVIDIA_VISIBLE_DEVICES": "void",
    }


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("nowhere.invalid/none:1", Reason.IMAGE_UNREACHABLE),
        ("{registry}/private/none:1", Reason.IMAGE_NOT_FOUND),
        ("{registry}/private/box:1", Reason.IMAGE_DENIED),
    ],
)
async def test_an_image_that_cannot_be_had_is_a_typed_end_at_once(
    gateway: Gateway, registry: ImageRegistry, image: str, reason: Reason
) -> None:
    registry.push(registry.engine.busybox, "private/box")
    given = Registry(username=USERNAME, password=PASSWORD) if reason is Reason.IMAGE_NOT_FOUND else None
    sandbox_id = new_sandbox_id()
    with pytest.raises(RockException, match="image") as ended:
        await _create(gateway, sandbox_id, image=image.format(registry=registry.address), registry=given)
    assert reason.value in json.dumps(ended.value.details) or reason.value == ended.value.reason
    status = await _settled(gateway, sandbox_id)
    assert (status.state, status.reason) == (State.STOPPED, reason)
    pull = status.phases["image_pull"]
    assert pull.status is Phase.FAILED
    assert "Failed to pull" in pull.message
    assert pull.started_at is not None
    assert pull.completed_at is not None
    assert pull.completed_at - pull.started_at < 10


async def test_a_private_image_comes_with_its_password_which_is_seen_nowhere(
    gateway: Gateway, cluster: Cluster, engine: Engine, registry: ImageRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    image = registry.push(engine.busybox, "private/box")
    account = Registry(username=USERNAME, password=PASSWORD)
    try:
        created = await _create(gateway, image=image, registry=account)
        assert created.state is State.RUNNING
        pull = created.phases["image_pull"]
        assert (pull.status, pull.started_at is not None) == (Phase.SUCCESS, True)
        job = f"/v1/job/sbx-{created.sandbox_id}"
        seen = [cluster.nomad("GET", path).data for path in (job, f"{job}/allocations", "/v1/jobs?meta=true")]
        seen += [await _settled(gateway, created.sandbox_id), engine.client.inspect_container(_ours(engine)[0])]
        look = "cat /proc/[0-9]*/environ; env; find /secrets /local /alloc -type f -exec cat {} +"
        seen += [await _run(gateway, created.sandbox_id, "/bin/sh", "-c", look), caplog.text]
        for each in map(str, seen):
            assert USERNAME not in each
            assert PASSWORD not in each
            assert PASSWORD[:9] not in each
        async with asyncio.timeout(60):
            while _is_whole(_variable(cluster, created.sandbox_id)):  # noqa: ASYNC110 - variables tell nobody
                await asyncio.sleep(0.1)
        await gateway.call(STOP_SANDBOX, sandbox_id=created.sandbox_id)
        await _until_forgotten(cluster, created.sandbox_id)
    finally:
        registry.forget(image)


async def test_a_wrong_password_is_denied_and_not_kept(
    gateway: Gateway, cluster: Cluster, engine: Engine, registry: ImageRegistry
) -> None:
    image, sandbox_id = registry.push(engine.busybox, "private/box"), new_sandbox_id()
    account = Registry(username=USERNAME, password="wrong")
    with pytest.raises(RockException, match="refused its image"):
        await _create(gateway, sandbox_id, image=image, registry=account)
    await _until_forgotten(cluster, sandbox_id)


async def test_memory_beyond_its_own_ends_the_command_and_not_the_sandbox(gateway: Gateway, engine: Engine) -> None:
    created = await _create(gateway, image=engine.busybox)
    ran = await gateway.call(EXECUTE, ExecuteRequest(command=["/bin/tail", "/dev/zero"]), sandbox_id=created.sandbox_id)
    assert (ran.exit_code, ran.failure_reason.partition(":")[0]) == (137, "oom")
    assert (await _settled(gateway, created.sandbox_id)).state is State.RUNNING
    await gateway.call(STOP_SANDBOX, sandbox_id=created.sandbox_id)
    assert (await _settled(gateway, created.sandbox_id)).reason is Reason.USER


async def test_memory_that_no_command_holds_ends_the_sandbox_and_says_so(gateway: Gateway, engine: Engine) -> None:
    created = await _create(gateway, image=engine.busybox, shm_bytes=2 * MEMORY)
    hoard = ExecuteRequest(command=["/bin/sh", "-c", "cat /dev/zero >> /dev/shm/hoard"])

    async def hoard_on() -> None:
        async with asyncio.timeout(60):
            while True:
                await gateway.call(EXECUTE, hoard, sandbox_id=created.sandbox_id)

    # What it has written stays when the kernel takes the command, so that in the end only the rocklet can be taken.
    with pytest.raises(SandboxDied) as died:
        await hoard_on()
    assert died.value.reason is Reason.OOM
    status = await _settled(gateway, created.sandbox_id)
    assert (status.state, status.reason, status.exit_code) == (State.STOPPED, Reason.OOM, 137)


@pytest.mark.parametrize("python", [Path(sys.executable), None], ids=["ours", "published"])
async def test_rocks_sample_runs_in_a_container(
    gateway: Gateway, engine: Engine, tmp_path: Path, python: Path | None
) -> None:
    with engine.aliased(engine.python, "python:3.11"):
        status, said = await run_sample("readme_sandbox.py", gateway, folder=tmp_path, python=python)
    assert (status, "output: Hello ROCK" in said) == (0, True), said


async def test_thirty_at_once_are_running_or_typed_and_none_is_lost_or_doubled(
    gateway: Gateway, cluster: Cluster, engine: Engine
) -> None:
    wanted = [new_sandbox_id() for _ in range(30)]

    async def create(sandbox_id: str) -> str:
        try:
            return (await _create(gateway, sandbox_id, image=engine.busybox, cpus=0.02)).state.value
        except RockException as error:
            return type(error).__name__

    async with asyncio.TaskGroup() as tasks:
        creates = {sandbox_id: tasks.create_task(create(sandbox_id)) for sandbox_id in wanted}
    ends = {sandbox_id: create.result() for sandbox_id, create in creates.items()}
    assert set(ends.values()) <= {"running"}, ends
    for sandbox_id in wanted:
        assert len(_ours(engine, sandbox_id)) == 1
        assert len(cluster.nomad("GET", f"/v1/job/sbx-{sandbox_id}/allocations").data) == 1


async def _until_forgotten(cluster: Cluster, sandbox_id: str) -> None:
    """Wait until the sweep has taken the sandbox's variable away."""
    async with asyncio.timeout(60):
        while _variable(cluster, sandbox_id):  # noqa: ASYNC110 - variables tell nobody
            await asyncio.sleep(0.1)


def _variable(cluster: Cluster, sandbox_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = cluster.nomad("GET", f"/v1/vars?prefix=nomad/jobs/sbx-{sandbox_id}").data
    return rows


def _is_whole(variable: list[dict[str, Any]]) -> bool:
    """Whether it is as it was created, with the credentials in it."""
    return any(row["ModifyIndex"] == row["CreateIndex"] for row in variable)
