from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.messages import Clocks, RockletEndpoint, State
from rock.wire.reasons import Reason
from rock.wire.spec import SandboxSpec
from rock_nomad.status import NODE_DISCONNECTED, derive_status
from tests.rock_nomad.lives import BEGAN, STARTED, allocation, evaluation, event, failed, job
from tests.rock_nomad.samples import RECORDINGS, recorded_allocations, recording
from tests.rock_nomad.test_records import json_values

CLOCKS = Clocks(
    sandbox_id="a", uptime=5.0, idle_remaining=290.0, max_lifetime_remaining=80_000.0, lease_remaining=None, pid=7
)
ENDPOINT = RockletEndpoint(sandbox_id="a", url="http://10.0.0.1:22000", token="t", alloc_id="alloc-1")
NODES = recording("nodes")


def test_a_rocklet_that_answered_makes_it_running_before_nomad_says_so() -> None:
    status = derive_status(job(), [allocation(status="pending")], [], clocks=CLOCKS, endpoint=ENDPOINT, now=BEGAN + 5)
    assert (status.state, status.observed_by, status.rocklet) == (State.RUNNING, "rocklet", ENDPOINT)
    assert status.deadlines.idle == BEGAN + 295
    assert status.deadlines.max_lifetime == BEGAN + 80_005
    assert status.deadlines.lease is None


def test_by_nomads_word_alone_a_running_task_is_a_running_sandbox() -> None:
    status = derive_status(job(), [allocation(STARTED)], [])
    assert (status.state, status.observed_by, status.rocklet) == (State.RUNNING, "nomad", None)
    assert status.deadlines.max_lifetime == BEGAN + 1 + 86_400
    assert status.deadlines.idle is None


def test_a_rocklet_that_was_asked_and_did_not_answer_is_pending_until_its_deadline() -> None:
    soon = derive_status(job(), [allocation(STARTED)], [], is_answering=False, now=BEGAN + 5)
    assert soon.state is State.PENDING
    assert soon.message == "rocklet: it is starting"
    assert soon.deadlines.startup == BEGAN + 180
    late = derive_status(job(), [allocation(STARTED)], [], is_answering=False, now=BEGAN + 181)
    assert late.state is State.RUNNING
    assert "its rocklet does not answer" in late.warnings


def test_a_rocklet_that_could_not_be_asked_is_waited_for_with_the_reason() -> None:
    silence = "consul does not answer"
    facts: dict[str, Any] = {"is_answering": False, "silence": silence}
    soon = derive_status(job(), [allocation(STARTED)], [], now=BEGAN + 5, **facts)
    assert (soon.state, soon.message) == (State.PENDING, f"rocklet: {silence}")
    assert soon.phases["placement"].message == ""
    late = derive_status(job(), [allocation(STARTED)], [], now=BEGAN + 181, **facts)
    assert late.state is State.RUNNING
    assert silence in late.warnings


def test_a_mock_is_judged_by_nomad_alone() -> None:
    mock = job(SandboxSpec(isolation="mock"))
    assert derive_status(mock, [allocation(STARTED)], [], is_answering=False, now=BEGAN).state is State.RUNNING
    assert derive_status(mock, [allocation(status="pending")], []).state is State.PENDING


def test_a_stopped_sandbox_gives_no_address_away() -> None:
    status = derive_status(job(stopped_after=9), [allocation(STARTED)], [], clocks=CLOCKS, endpoint=ENDPOINT)
    assert (status.state, status.rocklet) == (State.STOPPED, None)


def test_a_busy_cluster_is_said_in_a_sentence() -> None:
    full = evaluation(**failed(DimensionExhausted={"memory": 1}))
    status = derive_status(job(), [], [full], nodes=NODES)
    assert status.state is State.PENDING
    assert status.message == ("placement: 0 of 1 nodes: 1 short of memory (asked 8 GB, the largest node has 23.5 GB)")


def test_impossible_is_told_from_stopped_by_the_nodes_and_not_in_an_elastic_pool() -> None:
    spec = SandboxSpec(memory_bytes=900 * 2**30, isolation="raw_exec")
    full = evaluation(**failed(DimensionExhausted={"memory": 1}))
    evals = [full, evaluation(1, trigger="job-deregister")]
    status = derive_status(job(spec, stopped_after=1), [], evals, nodes=NODES)
    assert status.reason is Reason.IMPOSSIBLE
    assert status.phases["placement"].message.endswith("the largest node has 23.5 GB)")
    elastic = derive_status(job(spec, stopped_after=1), [], evals, nodes=NODES, elastic_pools=["default"])
    assert elastic.reason is Reason.USER


def test_a_create_that_outlived_its_gateways_has_no_capacity() -> None:
    full = evaluation(**failed(DimensionExhausted={"memory": 1}))
    status = derive_status(job(stopped_after=181), [], [full, evaluation(181, trigger="job-deregister")], nodes=NODES)
    assert (status.reason, status.stopped_at) == (Reason.NO_CAPACITY, BEGAN + 181)
    assert status.created_at == BEGAN


def test_a_lost_node_is_a_warning_until_the_sandbox_is_given_up() -> None:
    status = derive_status(job(), [allocation(STARTED, status="unknown")], [])
    assert status.state is State.RUNNING
    assert NODE_DISCONNECTED in status.warnings
    assert derive_status(job(stopped_after=400), [allocation(STARTED, status="unknown")], []).reason is Reason.NODE_LOST


def test_the_history_names_what_happened_and_when() -> None:
    ended = allocation(STARTED, event("Terminated", 301, exit_code=41), status="failed")
    status = derive_status(job(), [ended], [])
    assert [(each.from_state, each.to_state, each.event, each.at - BEGAN) for each in status.history] == [
        (State.PENDING, State.RUNNING, "started", 1),
        (State.RUNNING, State.STOPPED, "idle", 301),
    ]
    assert (status.exit_code, status.started_at, status.stopped_at) == (41, BEGAN + 1, BEGAN + 301)


def test_what_was_asked_for_is_shown() -> None:
    spec = SandboxSpec(
        image="x:1", cpus=1.5, memory_bytes=2**30, disk_bytes=2**31, gpus=1, gpu_type="H100", labels={"run": "7"},
        isolation="runc",
    )  # fmt: skip
    status = derive_status(job(spec), [allocation(STARTED)], [])
    asked = ("image", "cpus", "memory_bytes", "disk_bytes", "gpus", "gpu_type")
    shown = {name: getattr(status, name) for name in asked}
    assert shown == {name: getattr(spec, name) for name in shown}
    assert (status.sandbox_id, status.tenant, status.labels, status.isolation) == ("a", "red", {"run": "7"}, "runc")
    assert (status.alloc_id, status.node) == ("alloc-1", "vm")


def test_an_image_that_is_not_used_is_a_warning() -> None:
    assert "recorded but not used" in derive_status(job(), [], []).warnings[0]
    assert derive_status(job(SandboxSpec(isolation="runc")), [], []).warnings == []


def test_a_line_of_a_listing_is_enough() -> None:
    lines = {row["ID"]: derive_status(row, [], []) for row in recording("jobs-list")}
    assert {name: status.state for name, status in lines.items()} == {
        "bad": State.PENDING,
        "big1": State.STOPPED,
        "big2": State.STOPPED,
        "lost": State.STOPPED,
        "lost2": State.STOPPED,
    }


def test_members_of_a_group_have_their_own_ids_and_ends() -> None:
    gone = allocation(STARTED, event("Terminated", 9, exit_code=0), status="complete", Name="sbx-a.sandbox[1]")
    rows = [allocation(STARTED), gone]
    first, second = (derive_status(job(), rows, [], index=index) for index in (0, 1))
    assert (first.sandbox_id, first.state) == ("a.0", State.RUNNING)
    assert (second.sandbox_id, second.state, second.reason) == ("a.1", State.STOPPED, Reason.USER)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("alloc*.json")))
def test_every_recording_is_derived_and_fits_the_wire(name: str) -> None:
    # The recordings are of several clusters, whose indexes do not compare.
    row = {**recording("job-running"), "JobModifyIndex": 0}
    status = derive_status(row, recorded_allocations(name), recording("job-evals"))
    assert msgspec.json.decode(msgspec.json.encode(status), type=type(status)) == status
    assert status.state in (State.RUNNING, State.STOPPED)
    assert list(status.phases) == ["placement", "image_pull", "task_start", "rocklet"]


@st.composite
def _mangled(draw: st.DrawFn, row: dict[str, Any]) -> dict[str, Any]:
    """A row with some fields gone, some of another kind."""
    kept = {key: value for key, value in row.items() if draw(st.integers(0, 4))}
    for key in draw(st.lists(st.sampled_from(sorted(row)), max_size=3)):
        kept[key] = draw(json_values)
    return kept


states = st.sampled_from(["pending", "running", "complete", "failed", "lost", "unknown", "", "paused"])
kinds = st.sampled_from(
    ["Received", "Started", "Killing", "Terminated", "Driver Failure", "Reconnected", "Of tomorrow"]
)
events = st.builds(event, kinds, st.floats(0, 100), exit_code=st.integers(-1, 300))
placed = st.builds(lambda status, several: allocation(*several, status=status), states, st.lists(events, max_size=4))
scheduled = st.sampled_from(
    [evaluation(), evaluation(**failed(DimensionExhausted={"cpu": 1})), evaluation(9, trigger="of tomorrow")]
)


@pytest.mark.slow
@given(st.data(), st.booleans(), st.sampled_from([None, True, False]))
def test_nothing_nomad_may_say_makes_the_derivation_fail(
    data: st.DataObject, is_stopped: bool, is_answering: bool | None
) -> None:
    row = data.draw(_mangled(job(stopped_after=50 if is_stopped else None)))
    places = [data.draw(_mangled(data.draw(placed))) for _ in range(data.draw(st.integers(0, 2)))]
    evals = [data.draw(_mangled(data.draw(scheduled))) for _ in range(data.draw(st.integers(0, 2)))]
    status = derive_status(row, places, evals, nodes=NODES, is_answering=is_answering, now=BEGAN + 60)
    assert status.reason is None or status.state is State.STOPPED
    assert status.message or status.state is State.RUNNING
    msgspec.json.encode(status)
