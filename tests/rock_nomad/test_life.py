from __future__ import annotations

from typing import Any

import pytest

from rock.wire.spec import SandboxSpec
from rock_nomad.life import Life
from tests.rock_nomad.lives import BEGAN, STARTED, allocation, evaluation, failed, job


def test_a_living_sandbox_was_created_when_its_job_was_submitted() -> None:
    life = Life.from_rows(job(), [allocation(STARTED)], [])
    assert life.created_at == BEGAN
    assert life.deregistered_at is None
    assert not life.is_over


def test_a_stopped_one_was_created_at_its_first_evaluation_because_the_job_forgets() -> None:
    life = Life.from_rows(job(stopped_after=50), [], [evaluation(), evaluation(50, trigger="job-deregister")])
    assert life.created_at == BEGAN
    assert life.deregistered_at == BEGAN + 50
    assert life.is_over


def test_deregistering_again_changes_no_time() -> None:
    ends = [evaluation(50, trigger="job-deregister"), evaluation(70, trigger="job-deregister")]
    assert Life.from_rows(job(stopped_after=70), [], ends).deregistered_at == BEGAN + 50


def test_where_evaluations_are_gone_the_job_and_the_allocation_tell() -> None:
    life = Life.from_rows(job(stopped_after=50), [allocation(STARTED)], [])
    assert life.created_at == BEGAN + 0.01
    assert life.deregistered_at == BEGAN + 50
    assert Life.from_rows({"Stop": True}, [], []).created_at is None


def test_an_id_used_anew_has_only_its_present_life() -> None:
    before = allocation(STARTED, status="complete", CreateIndex=5)
    now = allocation(STARTED, ID="alloc-2")
    assert (life := Life.from_rows(job(), [now, before], [])).allocation is not None
    assert life.allocation.id == "alloc-2"
    assert Life.from_rows(job(), [before], []).allocation is None
    registered = [evaluation(-100, CreateIndex=3, JobModifyIndex=3), evaluation()]
    ended = Life.from_rows(job(stopped_after=9), [before], [*registered, evaluation(9, trigger="job-deregister")])
    assert ended.allocation is None
    assert ended.created_at == BEGAN


REPLACED: list[dict[str, Any]] = [
    {"ClientStatus": "lost", "DesiredStatus": "stop", "DesiredDescription": "alloc is lost since its node is down"},
    {"DesiredStatus": "evict", "PreemptedByAllocation": "another"},
    {"DesiredStatus": "stop", "DesiredTransition": {"Migrate": True}},
]
"""What Nomad starts another allocation for."""


@pytest.mark.parametrize("fields", REPLACED)
def test_a_pending_allocation_that_was_replaced_gives_way_to_the_next(fields: dict[str, Any]) -> None:
    first = allocation(**{"status": "pending", **fields})
    waiting = Life.from_rows(job(), [first], [])
    assert (waiting.allocation, waiting.is_over, waiting.is_supplanted) == (None, False, False)
    life = Life.from_rows(job(), [allocation(STARTED, ID="alloc-2", CreateIndex=20), first], [])
    assert life.allocation is not None
    assert (life.allocation.id, life.is_supplanted) == ("alloc-2", False)
    assert Life.from_rows(job(stopped_after=9), [first], []).allocation is not None


@pytest.mark.parametrize("fields", REPLACED)
@pytest.mark.parametrize("second", [[], [allocation(STARTED, ID="alloc-2", CreateIndex=20)]])
def test_what_has_begun_is_never_another_allocation(fields: dict[str, Any], second: list[dict[str, Any]]) -> None:
    first = allocation(STARTED, **{"status": "complete", **fields})
    life = Life.from_rows(job(), [*second, first], [])
    assert life.allocation is not None
    assert (life.allocation.id, life.is_over, life.is_supplanted) == ("alloc-1", True, True)
    assert not Life.from_rows(job(stopped_after=9), [*second, first], []).is_supplanted


def test_a_drain_leaves_nothing_in_its_stead() -> None:
    drained = {"Migrate": True, "MigrateDisablePlacement": True}
    assert not Life.from_rows(job(), [allocation(STARTED, DesiredTransition=drained)], []).is_supplanted


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], False),
        ([evaluation(5, trigger="max-disconnect-timeout", Status="pending", CreateIndex=20)], True),
        ([evaluation(5, trigger="max-disconnect-timeout", Status="canceled", CreateIndex=20)], False),
        (
            [
                evaluation(5, trigger="max-disconnect-timeout", Status="pending", CreateIndex=20),
                evaluation(6, trigger="reconnect", CreateIndex=30),
            ],
            False,
        ),
        (
            [
                evaluation(5, trigger="max-disconnect-timeout", Status="pending", CreateIndex=20),
                evaluation(12, trigger="reconnect", CreateIndex=99),
            ],
            True,
        ),
    ],
    ids=["never gone", "gone", "gone and back", "gone and back, told otherwise", "back too late"],
)
def test_a_node_that_was_gone_when_the_job_was_stopped_stays_lost_when_it_returns(
    told: list[dict[str, Any]], expected: bool
) -> None:
    evaluations = [evaluation(), *told, evaluation(9, trigger="job-deregister")]
    life = Life.from_rows(job(stopped_after=9), [allocation(STARTED, status="complete")], evaluations)
    assert life.allocation is not None
    assert life.allocation.went_unknown is expected


def test_a_member_has_its_own_allocation() -> None:
    members = [allocation(STARTED, ID=f"alloc-{n}", Name=f"sbx-a.sandbox[{n}]") for n in range(3)]
    for index in range(3):
        place = Life.from_rows(job(), members, [], index).allocation
        assert place is not None
        assert place.id == f"alloc-{index}"


def test_it_is_over_when_the_job_is_or_its_allocation() -> None:
    for status in ("complete", "failed", "lost"):
        assert Life.from_rows(job(), [allocation(STARTED, status=status)], []).is_over
    assert not Life.from_rows(job(), [allocation(STARTED, status="unknown")], []).is_over
    assert Life.from_rows({**job(), "Status": "dead"}, [], []).is_over


def test_a_failed_placement_counts_until_there_is_a_place() -> None:
    blocked = evaluation(0.1, trigger="queued-allocs", **failed(NodesExhausted=1))
    waiting = Life.from_rows(job(), [], [evaluation(**failed()), blocked])
    assert waiting.failed_placement is not None
    assert waiting.failed_placement["NodesExhausted"] == 1
    assert Life.from_rows(job(), [allocation(STARTED)], [blocked]).failed_placement is None


def test_the_deadline_counts_from_the_request() -> None:
    life = Life.from_rows(job(SandboxSpec(startup_timeout=30)), [], [])
    assert life.startup_deadline == BEGAN + 30
