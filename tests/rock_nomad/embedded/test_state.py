from __future__ import annotations

from typing import Any

import pytest

from rock_nomad.embedded.events import Topics
from rock_nomad.embedded.state import State, is_over, is_terminal
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

Row = dict[str, Any]


@pytest.fixture
def state() -> State:
    return State(make_node())


def job(job_id: str = "a", **fields: object) -> Row:
    return {**canonical_job(job_id), "Stop": False, "Status": "pending", "Version": 0, "SubmitTime": 1, **fields}


def evaluation(job_id: str = "a", status: str = "complete") -> Row:
    return {"ID": f"eval-{job_id}", "JobID": job_id, "Status": status}


def allocation(job_id: str = "a", *, client: str = "running", desired: str = "run") -> Row:
    return {"ID": f"alloc-{job_id}", "JobID": job_id, "ClientStatus": client, "DesiredStatus": desired}


def test_every_change_has_an_index_of_its_own_and_an_event(state: State) -> None:
    reader = state.events.subscribe(Topics.parse(["Job"]), state.index + 1)
    first = state.apply("JobRegistered", [("Job", job("a")), ("Evaluation", evaluation())])
    second = state.apply("JobRegistered", [("Job", {**state.jobs["a"], "Priority": 1})])
    assert second == first + 1
    assert (state.jobs["a"]["CreateIndex"], state.jobs["a"]["ModifyIndex"]) == (first, second)
    assert state.jobs["a"]["JobModifyIndex"] == first
    seen = [reader.batches.get_nowait() for _ in range(reader.batches.qsize())]
    batches = [batch for batch in seen if batch]
    assert [batch[0] for batch in batches][-2:] == [first, second]


def test_rows_are_replaced_never_changed(state: State) -> None:
    state.apply("JobRegistered", [("Job", job())])
    before = state.jobs["a"]
    state.apply("EvaluationUpdated", [("Evaluation", evaluation())], settle=["a"])
    assert before["Status"] == "pending"
    assert state.jobs["a"]["Status"] == "dead"


@pytest.mark.parametrize(
    ("rows", "stop", "status"),
    [
        ([], False, "pending"),
        ([], True, "dead"),
        ([("Evaluation", evaluation(status="blocked"))], False, "pending"),
        ([("Evaluation", evaluation()), ("Allocation", allocation())], False, "running"),
        ([("Allocation", allocation(client="complete"))], False, "dead"),
        ([("Allocation", allocation(desired="stop")), ("Evaluation", evaluation(status="pending"))], True, "pending"),
    ],
)
def test_a_jobs_status_follows_from_what_it_has(
    state: State, rows: list[tuple[str, Row]], stop: bool, status: str
) -> None:
    state.apply("JobRegistered", [("Job", job(Stop=stop)), *rows])
    assert state.job_status(state.jobs["a"]) == status


def test_keys_change_with_their_own_rows_alone(state: State) -> None:
    state.apply("JobRegistered", [("Job", job("a")), ("Job", job("b"))])
    index = state.apply("AllocationUpdated", [("Allocation", allocation("b"))])
    assert state.modified(("allocs", "b")) == state.modified("allocs") == state.modified(("alloc", "alloc-b")) == index
    assert state.modified(("allocs", "a")) == 1
    assert state.modified(("job", "a")) < index


def test_a_purged_job_is_forgotten_but_not_its_allocations(state: State) -> None:
    state.apply("JobRegistered", [("Job", job()), ("Allocation", allocation()), ("Evaluation", evaluation())])
    state.purge_job("a")
    assert (state.jobs, state.allocations_of("a"), state.evaluations_of("a")) == ({}, [], [])
    assert "alloc-a" in state.allocations


def test_a_summary_counts_members_and_who_is_queued(state: State) -> None:
    queued = {**evaluation(status="blocked"), "QueuedAllocations": {"sandbox": 4}}
    state.apply("JobRegistered", [("Job", job()), ("Allocation", allocation()), ("Evaluation", queued)])
    counts = state.summary(state.jobs["a"])["Summary"]["sandbox"]
    assert (counts["Running"], counts["Queued"], counts["Failed"]) == (1, 4, 0)


def test_reports_of_allocations_are_no_change_of_the_node(state: State) -> None:
    before = state.node["ModifyIndex"]
    state.apply("AllocationUpdated", [("Node", {**state.node, "LastAllocUpdateIndex": 9})])
    assert (state.node["ModifyIndex"], state.node["LastAllocUpdateIndex"]) == (before, 9)


def test_ends_as_servers_and_as_clients_see_them() -> None:
    stopping = allocation(desired="stop")
    assert is_terminal(stopping)
    assert not is_over(stopping)
    assert is_over(allocation(client="failed"))


def test_a_variable_is_written_only_over_the_version_that_is_meant(state: State) -> None:
    first = state.put_variable("a/b", {"key": "1"}, 0)
    assert first is not None
    assert state.put_variable("a/b", {"key": "2"}, 0) is None
    second = state.put_variable("a/b", {"key": "2"}, first["ModifyIndex"])
    assert second is not None
    assert (second["CreateIndex"], second["Items"]) == (first["CreateIndex"], {"key": "2"})
    assert state.put_variable("a/b", {"key": "3"}, None) is state.variables["a/b"]
