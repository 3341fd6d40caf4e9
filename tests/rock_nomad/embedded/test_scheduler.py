from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock_nomad.embedded.errors import Refused, Unsupported
from rock_nomad.embedded.scheduler import Scheduler
from rock_nomad.embedded.state import State
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

Row = dict[str, Any]


class Bench:
    """A scheduler whose client is the test: it hears what is placed and stopped, and ends what it likes."""

    def __init__(self, **node: Any) -> None:  # noqa: ANN401 - make_node's
        self.state = State(make_node(**node))
        self.scheduler = Scheduler(self.state, lambda _port: True)
        self.placed: list[str] = []
        self.stopped: list[str] = []
        self.scheduler.on_placed = lambda one, _placement: self.placed.append(one)
        self.scheduler.on_stopped = self.stopped.append

    def register(self, job: Row, index: int = 0) -> Row:
        created = self.scheduler.register(job, enforce_index=True, job_modify_index=index)
        return self.state.evaluations[created["ID"]]

    def end(self, allocation_id: str) -> None:
        row = {**self.state.allocations[allocation_id], "ClientStatus": "complete"}
        self.state.apply("AllocationUpdated", [("Allocation", row)], settle=[row["JobID"]])
        self.scheduler.release(allocation_id)
        self.scheduler.unblock()


@pytest.fixture
def bench() -> Bench:
    return Bench(memory=1000)


def test_what_fits_is_placed_and_its_client_told(bench: Bench) -> None:
    evaluation = bench.register(canonical_job("a", MemoryMB=600))
    assert (evaluation["Status"], evaluation["QueuedAllocations"]) == ("complete", {"sandbox": 0})
    assert [bench.state.allocations[one]["Name"] for one in bench.placed] == ["a.sandbox[0]"]
    assert bench.state.jobs["a"]["Status"] == "running"


def test_what_does_not_fit_waits_and_is_placed_when_room_comes(bench: Bench) -> None:
    bench.register(canonical_job("a", MemoryMB=600))
    evaluation = bench.register(canonical_job("b", MemoryMB=600))
    assert evaluation["FailedTGAllocs"]["sandbox"]["DimensionExhausted"] == {"memory": 1}
    assert bench.state.jobs["b"]["Status"] == "pending"
    bench.end(bench.placed[0])
    assert bench.state.allocations[bench.placed[-1]]["JobID"] == "b"
    assert bench.state.evaluations[evaluation["BlockedEval"]]["Status"] == "complete"
    assert bench.state.jobs["b"]["Status"] == "running"


def test_a_group_is_placed_as_far_as_it_fits_and_grows(bench: Bench) -> None:
    evaluation = bench.register(canonical_job("a", count=4, MemoryMB=400))
    assert len(bench.placed) == 2
    failed = evaluation["FailedTGAllocs"]["sandbox"]
    assert (evaluation["QueuedAllocations"], failed["CoalescedFailures"]) == ({"sandbox": 2}, 1)
    bench.end(bench.placed[0])
    blocked = bench.state.evaluations[evaluation["BlockedEval"]]
    assert (blocked["Status"], blocked["QueuedAllocations"]) == ("blocked", {"sandbox": 1})
    bench.end(bench.placed[1])
    names = [bench.state.allocations[one]["Name"] for one in bench.placed]
    assert names == [f"a.sandbox[{n}]" for n in range(4)]
    assert bench.state.evaluations[evaluation["BlockedEval"]]["Status"] == "complete"


def test_the_urgent_wait_less_and_then_the_oldest(bench: Bench) -> None:
    bench.register(canonical_job("taker", MemoryMB=900))
    for name, priority in (("old", 50), ("new", 50), ("urgent", 90)):
        bench.register({**canonical_job(name, MemoryMB=900), "Priority": priority})
    order = []
    for _ in range(3):
        bench.end(bench.placed[-1])
        order.append(bench.state.allocations[bench.placed[-1]]["JobID"])
    assert order == ["urgent", "old", "new"]


def test_stopping_frees_the_room_only_when_the_client_says_so(bench: Bench) -> None:
    bench.register(canonical_job("a", MemoryMB=900))
    bench.register(canonical_job("b", MemoryMB=900))
    bench.scheduler.deregister("a", purge=False)
    assert bench.stopped == bench.placed
    assert bench.state.jobs["a"]["Status"] == "dead"
    bench.scheduler.unblock()
    assert len(bench.placed) == 1
    bench.end(bench.placed[0])
    assert len(bench.placed) == 2


def test_a_waiting_job_that_is_stopped_is_never_placed(bench: Bench) -> None:
    bench.register(canonical_job("a", MemoryMB=900))
    blocked = bench.register(canonical_job("b", MemoryMB=900))["BlockedEval"]
    bench.scheduler.deregister("b", purge=True)
    assert bench.state.evaluations[blocked]["Status"] == "canceled"
    bench.end(bench.placed[0])
    assert len(bench.placed) == 1
    assert "b" not in bench.state.jobs


def test_an_id_is_refused_unless_its_last_index_is_given(bench: Bench) -> None:
    job = canonical_job("a", MemoryMB=1)
    with pytest.raises(Refused, match="Enforcing job modify index 5: job does not exist"):
        bench.register(job, index=5)
    bench.register(job)
    with pytest.raises(Refused, match="Enforcing job modify index 0: job already exists"):
        bench.register(job)
    with pytest.raises(Unsupported, match="has not been stopped"):
        bench.register(job, index=bench.state.jobs["a"]["JobModifyIndex"])
    bench.scheduler.deregister("a", purge=False)
    with pytest.raises(Refused, match="conflicting job modify index"):
        bench.register(job, index=1)
    bench.register(job, index=bench.state.jobs["a"]["JobModifyIndex"])
    assert (bench.state.jobs["a"]["Version"], len(bench.placed)) == (2, 2)


def test_a_plan_tells_and_changes_nothing(bench: Bench) -> None:
    before = bench.state.index
    plan = bench.scheduler.plan(canonical_job("a", count=2, MemoryMB=600))
    assert plan["FailedTGAllocs"]["sandbox"]["DimensionExhausted"] == {"memory": 1}
    assert plan["Annotations"]["DesiredTGUpdates"]["sandbox"]["Place"] == 2
    assert (bench.state.index, bench.state.jobs, bench.scheduler.usage.memory_mb) == (before, {}, 0)
    assert bench.scheduler.plan(canonical_job("a", MemoryMB=600))["FailedTGAllocs"] is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"Type": "service"}, "jobs of type service"),
        ({"Periodic": {"Spec": "x"}}, "Periodic"),
        ({"NodePool": "nope"}, 'job "a" is in nonexistent node pool "nope"'),
        ({"Namespace": "zz"}, 'job "a" is in nonexistent namespace "zz"'),
    ],
)
def test_what_is_refused_leaves_no_trace(bench: Bench, change: Row, text: str) -> None:
    before = bench.state.index
    with pytest.raises(Refused, match=text):
        bench.register({**canonical_job("a"), **change})
    assert (bench.state.index, bench.state.jobs) == (before, {})


def test_deregistering_the_unknown_is_nothing(bench: Bench) -> None:
    assert bench.scheduler.deregister("nobody", purge=True) is None


ACTIONS = st.lists(st.tuples(st.sampled_from(["register", "stop", "end"]), st.integers(0, 7)), max_size=40)


@pytest.mark.slow
@given(ACTIONS)
def test_whatever_comes_nothing_is_over_committed_and_nothing_that_fits_waits(actions: list[tuple[str, int]]) -> None:
    bench = Bench(memory=1000)
    for action, number in actions:
        job_id = f"job-{number}"
        if action == "register" and job_id not in bench.state.jobs:
            bench.register(canonical_job(job_id, count=1 + number % 3, MemoryMB=100 * (number + 1)))
        elif action == "stop":
            bench.scheduler.deregister(job_id, purge=False)
        elif action == "end" and (live := [one for one in bench.placed if _is_live(bench, one)]):
            bench.end(live[number % len(live)])
        rows = [bench.state.allocations[one] for one in bench.placed if _is_live(bench, one)]
        held = sum(row["Resources"]["MemoryMB"] for row in rows)
        assert held == bench.scheduler.usage.memory_mb <= 1000
        names = [bench.state.allocations[one]["Name"] for one in bench.placed]
        assert len(names) == len(set(names))
        for job in bench.state.jobs.values():
            missing = job["TaskGroups"][0]["Count"] - len(bench.state.allocations_of(job["ID"]))
            asked = job["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"]
            assert job["Stop"] or not missing or held + asked > 1000


def _is_live(bench: Bench, allocation_id: str) -> bool:
    return bool(bench.state.allocations[allocation_id]["ClientStatus"] == "pending")
