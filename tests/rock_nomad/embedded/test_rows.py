from __future__ import annotations

from rock_nomad.embedded.rows import allocation_stub, job_stub, job_summary, node_stub, placement_metrics, task_event
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare


def test_an_event_has_every_key_of_a_recorded_one() -> None:
    recorded = recordings.load("allocs-exit3")[0]["TaskStates"]["rocklet"]["Events"][3]
    event = task_event("Terminated", 1, "Exit Code: 3", recorded["Details"], ExitCode=3)
    assert compare(recorded, event) == []


def test_stubs_are_cut_from_the_whole_as_nomad_cuts_them() -> None:
    job, listed = recordings.load("job-running"), recordings.load("jobs-list")[0]
    stub = job_stub(job, job_summary(job, 14, {"Running": 1}), meta=True)
    assert compare(listed, stub) == []
    assert "Meta" not in job_stub(job, {}, meta=False)
    allocation = recordings.load("alloc-running")
    cut = allocation_stub(allocation, job, task_states=True)
    assert cut.keys() == recordings.load("alloc-stopped")[0].keys()
    assert allocation_stub(allocation, job, task_states=False)["TaskStates"] is None
    node = {**recordings.load("node")}
    assert compare(recordings.load("nodes")[0], node_stub(node, show_resources=True)) == []
    assert "NodeResources" not in node_stub(node, show_resources=False)


def test_metrics_have_every_key_of_recorded_ones() -> None:
    recorded = recordings.load("eval-nogpu")["FailedTGAllocs"]["sandbox"]
    live = placement_metrics(nodes=1, NodesFiltered=1, ConstraintFiltered={"missing devices": 1})
    assert compare(recorded, live) == []


def test_a_summary_counts_by_nomads_names() -> None:
    summary = job_summary(recordings.load("job-running"), 14, {"Running": 2, "Queued": 1})
    assert compare(recordings.load("job-summary"), summary, ignore=frozenset({"Summary"})) == []
    assert summary["Summary"]["sandbox"] == {
        "Complete": 0, "Failed": 0, "Lost": 0, "Queued": 1, "Running": 2, "Starting": 0, "Unknown": 0,
    }  # fmt: skip
