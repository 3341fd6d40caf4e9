from collections.abc import Sequence
from typing import Any

import pytest

from rock.wire.messages import State
from rock_nomad.config import ClusterProfile
from rock_nomad.nomad import Answer
from rock_nomad.snapshot import ONE_BY_ONE, add_evaluations, by_job, is_ours, take_snapshot

PROFILE = ClusterProfile(name="here")

Row = dict[str, Any]


def _job(number: int, cluster: str = "here") -> Row:
    meta = {"managed_by": cluster, "tenant": "team", "isolation": "raw_exec"}
    return {"ID": f"sbx-{number}", "Meta": meta, "Status": "pending", "CreateIndex": number, "JobModifyIndex": number}


def _started(number: int) -> Row:
    tasks = {"rocklet": {"StartedAt": "2026-11-21T10:17:10.5Z"}}
    return {"ID": f"a{number}", "JobID": f"sbx-{number}", "ClientStatus": "running", "TaskStates": tasks}


class _Nomad:
    """Nomad's listings, and a note of what was asked."""

    def __init__(self, jobs: list[Row], allocations: list[Row], pending: Sequence[Row] = ()) -> None:
        self.jobs, self.rows, self.pending, self.asked = jobs, allocations, list(pending), list[str]()

    async def list_jobs(self, prefix: str) -> Answer[list[Row]]:
        return self._said(f"jobs {prefix}", self.jobs)

    async def list_allocations(self) -> Answer[list[Row]]:
        return self._said("allocations", self.rows)

    async def list_evaluations(self, *, status: str | None = None) -> Answer[list[Row]]:
        return self._said("evaluations" if status is None else f"{status} evaluations", self.pending)

    async def evaluations(self, job_id: str) -> Answer[list[Row]]:
        return self._said(f"evaluations of {job_id}", [])

    async def nodes(self) -> Answer[list[Row]]:
        return self._said("nodes", [])

    def _said(self, what: str, rows: list[Row]) -> Answer[list[Row]]:
        self.asked.append(what)
        return Answer(data=rows, index=1, date=7.0)


async def _ask(jobs: list[Row], allocations: list[Row], pending: Sequence[Row] = ()) -> list[str]:
    nomad = _Nomad(jobs, allocations, pending)
    snapshot = await take_snapshot(nomad, PROFILE)  # type: ignore[arg-type]  # a fake at the seam
    await add_evaluations(nomad, snapshot, snapshot.jobs)  # type: ignore[arg-type]
    return nomad.asked


async def test_a_snapshot_holds_this_clusters_sandboxes_and_reads_jobs_before_allocations() -> None:
    nomad = _Nomad([_job(1), _job(2, "elsewhere")], [_started(1)])
    snapshot = await take_snapshot(nomad, PROFILE)  # type: ignore[arg-type]
    assert [snapshot.status(job).state for job in snapshot.jobs] == [State.RUNNING]
    assert (nomad.asked, snapshot.now) == (["jobs sbx-", "allocations"], 7.0)


async def test_two_listings_do_where_everything_has_started() -> None:
    assert await _ask([_job(1)], [_started(1)]) == ["jobs sbx-", "allocations"]


async def test_a_few_that_never_started_are_explained_one_by_one() -> None:
    asked = await _ask([_job(1), _job(2)], [_started(1)])
    assert asked[2:] == ["evaluations of sbx-2", "nodes"]


async def test_of_those_that_were_stopped_the_ones_that_were_given_up_are_explained() -> None:
    stopped = [{**_job(number), "Stop": True} for number in (1, 2, 3)]
    pending = [
        {"JobID": "sbx-2", "TriggeredBy": "max-disconnect-timeout"},
        {"JobID": "sbx-3", "TriggeredBy": "job-deregister"},
    ]
    asked = await _ask(stopped, [_started(number) for number in (1, 2, 3)], pending)
    assert asked[2:] == ["pending evaluations", "evaluations of sbx-2", "nodes"]


async def test_many_that_never_started_are_explained_by_one_listing() -> None:
    asked = await _ask([_job(number) for number in range(ONE_BY_ONE + 1)], [])
    assert asked[2:] == ["evaluations", "nodes"]


@pytest.mark.parametrize("job", [{}, {"ID": "sbx-a"}, {"ID": "web", "Meta": {"managed_by": "here"}}, {"ID": None}])
def test_somebody_elses_job_is_never_ours(job: Row) -> None:
    assert not is_ours(job, PROFILE)


def test_rows_are_found_under_their_job() -> None:
    assert by_job([{"JobID": "a", "n": 1}, {"JobID": "b"}, {"JobID": "a", "n": 2}, {}]) == {
        "a": [{"JobID": "a", "n": 1}, {"JobID": "a", "n": 2}],
        "b": [{"JobID": "b"}],
        "": [{}],
    }
