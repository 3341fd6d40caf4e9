import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from rock.wire.messages import GetSandboxRequest, State
from rock.wire.operations import GET_SANDBOX, LIST_SANDBOXES
from rock.wire.reasons import Reason
from rock_nomad.config import ClusterProfile
from rock_nomad.nomad import Answer
from rock_nomad.snapshot import Snapshot
from rock_nomad.sweep import Answers, Cause, Sweep, overdue
from tests.cluster import run_cluster
from tests.gateways import start_gateway, start_gateway_process, wait_until_listed

PROFILE = ClusterProfile(name="here", node_lost_after=300)
BEGUN = 1_000.0  # unix seconds

STARTED = {"rocklet": {"StartedAt": "1970-01-01T00:16:41Z"}}

Row = dict[str, Any]


def _job(name: str = "a", *, cluster: str = "here", **fields: Any) -> Row:  # noqa: ANN401 - JSON
    meta = {
        "managed_by": cluster,
        "tenant": "team",
        "sandbox_id": name,
        "startup_timeout": "180",
        "spec": '{"startup_timeout":180.0}',
    }
    return {
        "ID": f"sbx-{name}",
        "Meta": meta,
        "SubmitTime": int(BEGUN * 1e9),
        "CreateIndex": 10,
        "JobModifyIndex": 10,
        "Status": "pending",
        "Stop": False,
        **fields,
    }


def _allocation(status: str, *, at: float = BEGUN, name: str = "a", index: int = 11) -> Row:
    return {
        "ID": f"alloc-{index}",
        "JobID": f"sbx-{name}",
        "Name": f"sbx-{name}.sandbox[0]",
        "ClientStatus": status,
        "CreateTime": int(at * 1e9),
        "ModifyTime": int(at * 1e9),
        "CreateIndex": index,
    }


def _causes(job: Row, allocations: Sequence[Row], *, after: float) -> list[Cause]:
    placed = {"sbx-a": allocations}
    snapshot = Snapshot(profile=PROFILE, jobs=[job], allocations=placed, now=BEGUN + after)
    return [each.cause for each in overdue(snapshot)]


@pytest.mark.parametrize(("after", "expected"), [(180, []), (181, [Cause.STARTUP])])
def test_what_waits_for_room_is_overdue_after_its_startup_timeout(after: float, expected: list[Cause]) -> None:
    assert _causes(_job(), [], after=after) == expected


def test_a_task_that_never_starts_is_overdue_as_well() -> None:
    assert _causes(_job(Status="running"), [_allocation("pending")], after=181) == [Cause.STARTUP]


def test_what_has_begun_is_not_begun_anew() -> None:
    begun = {**_allocation("complete"), "PreemptedByAllocation": "another", "TaskStates": STARTED}
    assert _causes(_job(), [begun], after=1) == [Cause.REPLACED]
    assert _causes(_job(), [begun, _allocation("running", index=12)], after=1) == [Cause.REPLACED]
    assert _causes(_job(Status="dead"), [begun], after=1) == []
    assert _causes(_job(), [_allocation("lost")], after=1) == []
    assert _causes(_job(), [_allocation("lost")], after=181) == [Cause.STARTUP]


@pytest.mark.parametrize("status", ["running", "complete", "failed"])
def test_what_has_started_is_never_overdue_to_start(status: str) -> None:
    assert _causes(_job(Status="running"), [_allocation(status)], after=9_999) == []


@pytest.mark.parametrize(("after", "expected"), [(400, []), (401, [Cause.NODE_LOST])])
def test_a_node_that_is_gone_for_too_long_is_lost(after: float, expected: list[Cause]) -> None:
    assert _causes(_job(Status="running"), [_allocation("unknown", at=BEGUN + 100)], after=after) == expected


@pytest.mark.parametrize("fields", [{"Stop": True}, {"Status": "dead"}])
def test_what_is_over_is_left_alone(fields: Row) -> None:
    assert _causes(_job(**fields), [], after=9_999) == []


def test_an_id_used_anew_is_judged_by_its_present_life() -> None:
    before = _allocation("unknown", index=5)
    assert _causes(_job(), [before], after=100) == []
    assert _causes(_job(), [before], after=181) == [Cause.STARTUP]


EVALUATIONS = [
    {
        "TriggeredBy": "job-register",
        "CreateIndex": 10,
        "JobModifyIndex": 10,
        "CreateTime": int(BEGUN * 1e9),
        "FailedTGAllocs": {"sandbox": {"NodesEvaluated": 1, "DimensionExhausted": {"cpu": 1}}},
    },
    {
        "TriggeredBy": "job-deregister",
        "CreateIndex": 20,
        "JobModifyIndex": 20,
        "CreateTime": int((BEGUN + 181) * 1e9),
    },
]


class _Nomad:
    """Nomad as far as the sweep asks it."""

    def __init__(self, job: Row, allocations: list[Row], *, now: float) -> None:
        self.jobs, self.rows, self.now, self.stopped = [job], allocations, now, list[str]()
        self.has_stopped = asyncio.Event()

    async def list_jobs(self, prefix: str) -> Answer[list[Row]]:
        return Answer(data=self.jobs, index=1, date=self.now)

    async def list_allocations(self) -> Answer[list[Row]]:
        return Answer(data=self.rows, index=1, date=self.now)

    async def job(self, job_id: str) -> Answer[Row] | None:
        return next((Answer(data=job, index=1, date=self.now) for job in self.jobs if job["ID"] == job_id), None)

    async def allocations(self, job_id: str) -> Answer[list[Row]]:
        return Answer(data=self.rows, index=1, date=self.now)

    async def evaluations(self, job_id: str) -> Answer[list[Row]]:
        return Answer(data=EVALUATIONS if job_id == "sbx-a" else [], index=1, date=self.now)

    async def list_evaluations(self, *, status: str | None = None) -> Answer[list[Row]]:
        return Answer(data=[], index=1, date=self.now)

    async def nodes(self) -> Answer[list[Row]]:
        return Answer(data=[], index=1, date=self.now)

    async def list_variables(self, _prefix: str) -> Answer[list[Row]]:
        return Answer(data=[], index=1, date=self.now)

    async def stop(self, job_id: str) -> str | None:
        self.stopped.append(job_id)
        self.has_stopped.set()
        return "eval"


async def _answers(tenant: str, sandbox_id: str) -> bool:
    return True


async def _is_silent(tenant: str, sandbox_id: str) -> bool:
    return False


def _sweep(nomad: _Nomad, answers: Answers = _is_silent, replaced: Sequence[str] = ()) -> Sweep:
    queue: asyncio.Queue[str] = asyncio.Queue()
    for job_id in replaced:
        queue.put_nowait(job_id)
    return Sweep(nomad, PROFILE, answers, queue)  # type: ignore[arg-type]  # a fake at the seam


@pytest.mark.parametrize(("answers", "stopped"), [(_answers, []), (_is_silent, ["sbx-a"])])
async def test_a_sandbox_on_a_lost_node_is_ended_only_if_its_rocklet_is_silent(
    answers: Answers,
    stopped: list[str],
) -> None:
    nomad = _Nomad(_job(Status="running"), [_allocation("unknown")], now=BEGUN + 301)
    await _sweep(nomad, answers).sweep()
    assert nomad.stopped == stopped


async def test_a_sandbox_that_lives_on_cut_off_is_mentioned_once(caplog: pytest.LogCaptureFixture) -> None:
    nomad = _Nomad(_job(Status="running"), [_allocation("unknown")], now=BEGUN + 301)
    sweep = _sweep(nomad, _answers)
    for _ in range(3):
        await sweep.sweep()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_what_was_placed_between_listing_and_acting_is_not_ended() -> None:
    nomad = _Nomad(_job(), [], now=BEGUN + 181)

    async def placed(job_id: str) -> Answer[list[Row]]:
        return Answer(data=[_allocation("running")], index=2, date=nomad.now)

    nomad.allocations = placed  # type: ignore[method-assign]  # the fake's own
    await _sweep(nomad).sweep()
    assert nomad.stopped == []


async def test_what_nomad_would_begin_anew_is_ended_without_waiting_for_a_sweep() -> None:
    evicted = {**_allocation("running"), "PreemptedByAllocation": "another", "TaskStates": STARTED}
    nomad = _Nomad(_job(Status="running"), [evicted], now=BEGUN + 1)
    nomad.jobs.append(_job("elsewhere", cluster="there"))
    sweep = _sweep(nomad, replaced=["sbx-gone", "sbx-elsewhere", "sbx-a"])
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        running = tasks.create_task(sweep.run())
        await nomad.has_stopped.wait()
        running.cancel()
    assert nomad.stopped == ["sbx-a"]


async def test_each_end_is_counted_once_and_old_ones_not_at_all() -> None:
    nomad = _Nomad(_job(), [], now=BEGUN + 1)
    sweep = _sweep(nomad)
    old = _job("old", Stop=True, Status="dead", SubmitTime=int((BEGUN - 3600) * 1e9))
    nomad.jobs.append(old)
    await sweep.sweep()
    assert sweep.ends.total() == 0
    nomad.jobs[0] = _job(Stop=True, Status="dead", SubmitTime=int((BEGUN + 181) * 1e9), JobModifyIndex=20)
    for _ in range(2):
        await sweep.sweep()
    assert sweep.ends == {"no_capacity": 1}
    # Stopped while its node was gone: Nomad calls it pending until that returns.
    lost = {**_allocation("unknown", name="lost"), "TaskStates": STARTED}
    nomad.jobs.append(_job("lost", Stop=True, SubmitTime=int((BEGUN + 400) * 1e9), JobModifyIndex=30))
    nomad.rows = [lost]
    await sweep.sweep()
    assert sweep.ends == {"no_capacity": 1, "node_lost": 1}


@pytest.mark.slow
async def test_a_create_that_outlives_every_gateway_is_ended_in_time_by_a_new_one() -> None:
    name = f"t{secrets.token_hex(4)}"
    with run_cluster("embedded") as cluster:
        async with start_gateway_process(cluster, name=name) as gateway:
            running = await gateway.create(cpus=0.6 * gateway.cpus)
            await wait_until_listed(cluster, running.sandbox_id)
            queued = await gateway.create(cpus=0.6 * gateway.cpus, startup_timeout=3.0, hold=0)
            assert queued.state is State.PENDING
            assert gateway.process is not None
            gateway.process.kill()
        async with start_gateway(cluster, name=name, sweep_interval=0.2) as gateway:
            listed = (await gateway.call(LIST_SANDBOXES)).sandboxes
            assert {each.state for each in listed} == {State.RUNNING, State.PENDING}
            # Nobody asks about the sandbox: the sweep alone ends it.
            await asyncio.to_thread(cluster.wait_for, f"/v1/job/sbx-{queued.sandbox_id}", lambda job: job["Stop"])
            ended = await gateway.call(GET_SANDBOX, GetSandboxRequest(), sandbox_id=queued.sandbox_id)
            assert (ended.state, ended.reason) == (State.STOPPED, Reason.NO_CAPACITY)
