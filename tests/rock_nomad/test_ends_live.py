"""How sandboxes end, seen live: real rocklets, by the embedded cluster's word and by a real Nomad's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rock.wire.messages import SandboxStatus, State
from rock.wire.reasons import Reason
from rock.wire.spec import SandboxSpec
from rock_nomad.names import new_sandbox_id
from rock_nomad.nomad import Nomad
from rock_nomad.status import derive_status
from tests.cluster import Cluster
from tests.rock_nomad.samples import render

Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""Of a rendered job's group and task."""


def _spec(**fields: Any) -> SandboxSpec:  # noqa: ANN401 - SandboxSpec's fields
    small = {"cpus": 0.05, "memory_bytes": 64 * 2**20, "disk_bytes": 32 * 2**20, "isolation": "raw_exec"}
    return SandboxSpec(**{**small, **fields})


def _leave(_group: dict[str, Any], _task: dict[str, Any]) -> None:
    """Change nothing."""


async def _see_end(cluster: Cluster, spec: SandboxSpec, change: Change) -> SandboxStatus:
    """How a sandbox ends that nobody touches after its creation."""
    job = render(spec, sandbox_id=new_sandbox_id())
    group = job["TaskGroups"][0]
    change(group, group["Tasks"][0])
    async with Nomad(cluster.nomad_config()) as nomad, asyncio.timeout(60):
        await nomad.register(job)
        index = 0
        while True:
            answer = await nomad.allocations(job["ID"], index=index, wait=10)
            registered = await nomad.job(job["ID"])
            assert registered is not None
            status = derive_status(registered.data, answer.data, (await nomad.evaluations(job["ID"])).data)
            if status.state is State.STOPPED:
                await nomad.stop(job["ID"], purge=True)
                return status
            index = answer.index


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "change", "reason", "exit_code"),
    [
        (_spec(idle_timeout=0.5), _leave, Reason.IDLE, 41),
        (_spec(max_lifetime=0.5), _leave, Reason.MAX_LIFETIME, 42),
        (_spec(lease=0.5), _leave, Reason.LEASE, 43),
        (_spec(isolation="mock", max_lifetime=0.5), _leave, Reason.MAX_LIFETIME, 0),
        (_spec(), lambda _group, task: task["Env"].pop("ROCKLET_TOKEN_SHA256"), Reason.EXITED_EARLY, 40),
        (_spec(), lambda _group, task: task["Config"].update(command="/no/such"), Reason.DRIVER, None),
        (
            _spec(),
            lambda _group, task: task["Config"].update(command="/bin/sh", args=["-c", "kill -9 $$"]),
            Reason.EXITED,
            137,
        ),
    ],
    ids=["idle", "max_lifetime", "lease", "mock", "early", "driver", "killed"],
)
async def test_an_end_is_seen_with_its_reason_and_exit_code(
    cluster: Cluster, spec: SandboxSpec, change: Change, reason: Reason, exit_code: int | None
) -> None:
    status = await _see_end(cluster, spec, change)
    assert (status.reason, status.exit_code) == (reason, exit_code), status
    assert status.created_at is not None
    assert status.stopped_at is not None
    assert status.created_at <= status.stopped_at


@pytest.mark.slow
async def test_nomads_own_limit_ends_what_the_rocklet_did_not(cluster: Cluster) -> None:
    status = await _see_end(cluster, _spec(), lambda group, _task: group.update(MaxRunDuration=2 * 10**9))
    assert status.reason is Reason.MAX_LIFETIME
