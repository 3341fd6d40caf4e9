from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock_nomad.embedded.errors import Refused
from rock_nomad.embedded.jobs import canonicalize
from rock_nomad.embedded.nomad_api import NomadApi
from rock_nomad.embedded.scheduler import Scheduler
from rock_nomad.embedded.state import State
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

Client = TestClient[Any, Any]


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(State(make_node()), lambda _port: True)


@pytest.fixture
async def client(scheduler: Scheduler, tmp_path: Path) -> AsyncIterator[Client]:
    server = TestServer(NomadApi(scheduler, "secret", tmp_path).application())
    async with TestClient(server, headers={"X-Nomad-Token": "secret"}) as client:
        yield client


def add(scheduler: Scheduler, *ids: str) -> None:
    for job_id in ids:
        scheduler.register(canonical_job(job_id, MemoryMB=1), enforce_index=True, job_modify_index=0)


async def test_every_reply_says_its_index_and_the_time(client: Client, scheduler: Scheduler) -> None:
    add(scheduler, "a")
    for path in ("/v1/jobs", "/v1/job/a", "/v1/job/a/allocations", "/v1/nodes", "/v1/allocations", "/v1/evaluations"):
        reply = await client.get(path)
        assert int(reply.headers["X-Nomad-Index"]) > 1
        assert reply.headers["X-Nomad-KnownLeader"] == "true"
        assert reply.headers["X-Nomad-LastContact"] == "0"
        assert "Date" in reply.headers


async def test_pages_of_allocations_join_to_the_whole(client: Client, scheduler: Scheduler) -> None:
    add(scheduler, *(f"j{n}" for n in range(7)))
    for path in ("/v1/allocations", "/v1/evaluations", "/v1/jobs"):
        whole = [row["ID"] for row in await (await client.get(path)).json()]
        seen, token, pages = [], "", 0
        while True:
            reply = await client.get(path, params={"per_page": "3", "next_token": token})
            seen += [row["ID"] for row in await reply.json()]
            token, pages = reply.headers.get("X-Nomad-NextToken", ""), pages + 1
            if not token:
                break
        assert (seen, pages) == (whole, 3)


async def test_task_states_can_be_left_out(client: Client, scheduler: Scheduler) -> None:
    add(scheduler, "a")
    (allocation,) = scheduler.state.allocations.values()
    states = {"rocklet": {"State": "running"}}
    scheduler.state.apply("AllocationUpdated", [("Allocation", {**allocation, "TaskStates": states})])
    (whole,) = await (await client.get("/v1/allocations")).json()
    (stub,) = await (await client.get("/v1/allocations?task_states=false")).json()
    assert (whole["TaskStates"], stub["TaskStates"]) == (states, None)


async def test_evaluations_can_be_chosen_by_status(client: Client, scheduler: Scheduler) -> None:
    add(scheduler, "a")
    scheduler.register(canonical_job("big", MemoryMB=10**6), enforce_index=True, job_modify_index=0)
    rows = await (await client.get("/v1/evaluations?status=blocked")).json()
    assert [row["JobID"] for row in rows] == ["big"]


async def test_the_stream_begins_with_a_heartbeat_and_tells_what_comes(client: Client, scheduler: Scheduler) -> None:
    async with client.get("/v1/event/stream?topic=Job&index=0") as reply:
        assert await reply.content.readline() == b"{}\n"
        add(scheduler, "a")
        batch = msgspec.json.decode(await reply.content.readline())
        assert [(one["Topic"], one["Type"], one["Key"]) for one in batch["Events"]] == [("Job", "JobRegistered", "a")]
        scheduler.state.events.close()
        rest = await reply.content.read()
        assert rest.count(b"\n") <= 2


@pytest.mark.parametrize("query", ["index=x", "wait=soon"])
async def test_a_broken_query_is_400(client: Client, query: str) -> None:
    assert (await client.get(f"/v1/jobs?{query}")).status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ID", "Name", "TaskGroups", "Tasks", "Count", "Networks", "Meta"]), inner)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow])  # on a machine that has other things to do
@given(st.dictionaries(st.sampled_from(["ID", "TaskGroups", "Type", "Priority", "Meta"]), JSON))
def test_no_json_breaks_the_reading_of_a_job(given_job: dict[str, Any]) -> None:
    try:
        NomadApi.parse_job(msgspec.json.encode({"Job": given_job}))
    except Refused as refused:
        assert refused.status in (400, 500)
    else:
        canonicalize(given_job)
