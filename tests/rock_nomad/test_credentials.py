from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rock.wire.errors import ClusterUnavailable
from rock.wire.spec import Registry
from rock_nomad.config import NomadConfig
from rock_nomad.credentials import ORPHAN_AGE, Credentials
from rock_nomad.names import new_sandbox_id, variable_path
from rock_nomad.nomad import JobExists, Nomad
from rock_nomad.snapshot import Snapshot
from tests.cluster import Cluster
from tests.rock_nomad.samples import PROFILE, render

pytestmark = pytest.mark.slow

REGISTRY = Registry(username="me", password='a "b"\n$c é')


@pytest.fixture
async def nomad(cluster: Cluster) -> AsyncIterator[Nomad]:
    async with Nomad(cluster.nomad_config()) as nomad:
        yield nomad


async def versions(nomad: Nomad, sandbox_id: str) -> list[bool]:
    """Of a sandbox's variables, whether each is as it was created."""
    rows = (await nomad.list_variables(variable_path(sandbox_id))).data
    return [row["CreateIndex"] == row["ModifyIndex"] for row in rows]


async def test_they_are_put_once_blanked_and_forgotten(nomad: Nomad) -> None:
    credentials, sandbox_id = Credentials(nomad), new_sandbox_id()
    await credentials.put(sandbox_id, REGISTRY)
    assert await versions(nomad, sandbox_id) == [True]
    await credentials.blank(sandbox_id)
    assert await versions(nomad, sandbox_id) == [False]
    for _ in range(2):
        await credentials.forget(sandbox_id)
        assert await versions(nomad, sandbox_id) == []


async def test_those_of_another_call_are_never_used(nomad: Nomad) -> None:
    credentials, sandbox_id = Credentials(nomad), new_sandbox_id()
    await credentials.put(sandbox_id, REGISTRY)
    with pytest.raises(ClusterUnavailable, match="is being created by another call"):
        await credentials.put(sandbox_id, REGISTRY)
    job = render(sandbox_id=sandbox_id)
    job["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] = 2**30  # it has to wait
    await nomad.register(job)
    with pytest.raises(JobExists):
        await credentials.put(sandbox_id, REGISTRY)
    await nomad.stop(job["ID"], purge=True)
    await credentials.forget(sandbox_id)


def allocation(status: str, **task: object) -> dict[str, Any]:
    return {
        "ID": "x", "Name": "a.sandbox[0]", "ClientStatus": status, "CreateIndex": 9, "CreateTime": 1,
        "TaskStates": {"rocklet": {"State": "running", "Events": [], **task}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("job", "rows", "left"),
    [
        ({}, [allocation("pending")], [True]),
        ({}, [allocation("running", StartedAt="2026-01-01T00:00:00Z")], [False]),
        ({"Stop": True}, [], []),
        ({"Status": "dead"}, [allocation("failed")], []),
    ],
    ids=["pulling", "started", "stopped", "failed"],
)
async def test_what_has_served_is_tidied(
    nomad: Nomad, job: dict[str, object], rows: list[dict[str, Any]], left: list[bool]
) -> None:
    credentials, sandbox_id = Credentials(nomad), new_sandbox_id()
    await credentials.put(sandbox_id, REGISTRY)
    told: dict[str, Any] = {**render(sandbox_id=sandbox_id), "JobModifyIndex": 1, "Status": "running", **job}
    snapshot = Snapshot(profile=PROFILE, jobs=[told], allocations={f"sbx-{sandbox_id}": rows}, now=0.0)
    await credentials.tidy(snapshot)
    assert await versions(nomad, sandbox_id) == left
    await credentials.forget(sandbox_id)


async def test_those_that_a_dead_gateway_left_are_tidied_when_nobody_can_need_them(nomad: Nomad) -> None:
    credentials, sandbox_id = Credentials(nomad), new_sandbox_id()
    await credentials.put(sandbox_id, REGISTRY)
    (row,) = (await nomad.list_variables(variable_path(sandbox_id))).data
    made = row["CreateTime"] / 1e9
    for age, left in ((ORPHAN_AGE - 1, [True]), (ORPHAN_AGE + 1, [])):
        await credentials.tidy(Snapshot(profile=PROFILE, jobs=[], now=made + age))
        assert await versions(nomad, sandbox_id) == left


async def test_a_nomad_that_does_not_answer_leaves_them_to_the_next_sweep(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Nomad(NomadConfig(url="http://127.0.0.1:1")) as nomad:  # nobody listens there
        await Credentials(nomad).blank("gone")
    assert "stay for the next sweep" in caplog.text
