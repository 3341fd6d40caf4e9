from __future__ import annotations

from typing import Any

import pytest

from rock.wire.messages import RockletExit
from rock.wire.reasons import REASONS, Reason
from rock.wire.spec import SandboxSpec
from rock_nomad.ends import End, find_end, image_fault
from rock_nomad.life import Life
from rock_nomad.placement import Verdict
from tests.rock_nomad.lives import BEGAN, STARTED, allocation, evaluation, event, job
from tests.rock_nomad.samples import recorded_allocations, recording

BUSY = Verdict(kind="busy", message="0 of 1 nodes: full")


def _end(*allocations: dict[str, Any], stopped_after: float | None = None, verdict: Verdict | None = None) -> End:
    ends = [] if stopped_after is None else [evaluation(stopped_after, trigger="job-deregister")]
    return find_end(Life.from_rows(job(stopped_after=stopped_after), allocations, [evaluation(), *ends]), verdict)


def _exited(exit_code: int, *before: dict[str, Any], **fields: object) -> dict[str, Any]:
    return allocation(STARTED, *before, event("Terminated", 9, exit_code=exit_code), status="failed", **fields)


def _oom_killed(exit_code: int) -> dict[str, Any]:
    """The end of a container whose engine once saw the kernel take something in it for want of memory."""
    return event("Terminated", 9, exit_code=exit_code, Details={"oom_killed": "true"})


KILLING = event("Killing", 8, DisplayMessage="Sent interrupt. Waiting 5s before force killing")


@pytest.mark.parametrize(
    ("name", "reason", "exit_code"),
    [
        ("allocs-exit0", Reason.USER, 0),
        ("allocs-exit3", Reason.EXITED, 3),
        ("allocs-maxrun", Reason.MAX_LIFETIME, 130),
        ("allocs-oom", Reason.OOM, 137),
        ("allocs-nocmd", Reason.DRIVER, None),
        ("allocs-noimage", Reason.IMAGE_UNREACHABLE, None),
        ("allocs-lost-and-replaced", Reason.NODE_LOST, None),
        ("allocs-drained", Reason.DRAINED, 143),
        ("allocs-moved", Reason.DRAINED, 143),
        ("allocs-preempted", Reason.PREEMPTED, 143),
    ],
)
def test_every_recorded_end_has_its_reason(name: str, reason: Reason, exit_code: int | None) -> None:
    end = find_end(Life.from_rows({}, recorded_allocations(name), []))
    assert (end.reason, end.exit_code) == (reason, exit_code)
    assert end.message.startswith(REASONS[reason].summary)
    assert end.at is not None


@pytest.mark.parametrize(("name", "expected"), [("drained", False), ("moved", True), ("preempted", True)])
def test_what_is_recorded_to_have_begun_anew_is_not_the_sandbox(name: str, expected: bool) -> None:
    rows = recorded_allocations(f"allocs-{name}")
    life = Life.from_rows({"Status": "running"}, rows, [])
    assert life.allocation is not None
    assert (life.allocation.id, life.is_over, life.is_supplanted) == (rows[0]["ID"], True, expected)
    assert len(rows) == (2 if expected else 1)


def test_the_recorded_sandbox_that_was_given_up_stays_lost_when_its_node_is_back() -> None:
    seen = recording("given-up")
    assert seen["Allocations"][0]["ClientStatus"] == "complete"
    life = Life.from_rows(seen["Job"], seen["Allocations"], seen["Evaluations"])
    assert find_end(life).reason is Reason.NODE_LOST


def test_the_recorded_stop_is_the_users() -> None:
    life = Life.from_rows({"Stop": True, "SubmitTime": 1}, recorded_allocations("alloc-stopped"), [])
    assert find_end(life).reason is Reason.USER


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (RockletExit.CLOSED, Reason.USER),
        (RockletExit.IDLE, Reason.IDLE),
        (RockletExit.MAX_LIFETIME, Reason.MAX_LIFETIME),
        (RockletExit.LEASE, Reason.LEASE),
        (RockletExit.EARLY, Reason.EXITED_EARLY),
        (1, Reason.EXITED_EARLY),
        (127, Reason.EXITED_EARLY),
        (3, Reason.EXITED),
        (137, Reason.EXITED),
        (143, Reason.EXITED),
    ],
)
def test_the_rocklets_exit_code_says_why(code: int, reason: Reason) -> None:
    assert _end(_exited(code)).reason is reason


def test_an_expiry_stays_one_even_if_the_job_was_stopped_afterwards() -> None:
    assert _end(_exited(RockletExit.IDLE), stopped_after=60).reason is Reason.IDLE


def test_a_death_from_inside_stays_one_even_if_the_job_was_stopped_afterwards() -> None:
    assert _end(_exited(137), stopped_after=60).reason is Reason.EXITED


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ClientDescription": "allocation exceeded max_run_duration"}, Reason.MAX_LIFETIME),
        ({"PreemptedByAllocation": "other"}, Reason.PREEMPTED),
        ({"DesiredTransition": {"Migrate": True}}, Reason.DRAINED),
        ({"DesiredDescription": "alloc is being migrated"}, Reason.DRAINED),
    ],
)
@pytest.mark.parametrize("exit_code", [0, 137, 143])
def test_whatever_code_a_kill_leaves_the_reason_for_the_kill_counts(
    fields: dict[str, object], reason: Reason, exit_code: int
) -> None:
    assert _end(_exited(exit_code, KILLING, **fields), stopped_after=60).reason is reason


def test_a_kill_by_the_stop_is_the_users_whatever_code_it_leaves() -> None:
    for exit_code in (0, 3, 137, 143):
        assert _end(_exited(exit_code, KILLING), stopped_after=8).reason is Reason.USER


def test_out_of_memory_is_told_from_other_kills() -> None:
    taken = event("Terminated", 9, exit_code=137, Details={"oom_killed": "true"})
    assert _end(allocation(STARTED, taken, status="failed")).reason is Reason.OOM


def test_a_lost_node_is_told_also_after_the_job_was_stopped_for_it() -> None:
    assert _end(allocation(STARTED, status="unknown"), stopped_after=400).reason is Reason.NODE_LOST
    assert _end(allocation(STARTED, status="lost")).reason is Reason.NODE_LOST


def test_what_never_started_was_stopped_by_its_deadline_or_by_the_user() -> None:
    pulling = allocation(event("Driver", 1), status="pending")
    assert _end(pulling, stopped_after=180.5).reason is Reason.STARTUP_TIMEOUT
    assert _end(pulling, stopped_after=20).reason is Reason.USER


@pytest.mark.parametrize(
    ("stopped_after", "verdict", "reason"),
    [
        (180.5, BUSY, Reason.NO_CAPACITY),
        (180.5, None, Reason.STARTUP_TIMEOUT),
        (20, BUSY, Reason.USER),
        (20, None, Reason.USER),
        (20, Verdict(kind="impossible", message="too big"), Reason.IMPOSSIBLE),
        (20, Verdict(kind="driver", message="no docker"), Reason.DRIVER),
    ],
)
def test_what_was_never_placed_ended_as_its_placement_did(
    stopped_after: float, verdict: Verdict | None, reason: Reason
) -> None:
    end = _end(stopped_after=stopped_after, verdict=verdict)
    assert (end.reason, end.at) == (reason, BEGAN + stopped_after)
    if verdict is not None and reason is not Reason.USER:
        assert end.message.endswith(verdict.message)


def test_evidence_that_is_gone_is_not_replaced_by_a_guess() -> None:
    end = find_end(Life.from_rows({"Status": "dead"}, [], []))
    assert (end.reason, end.at, end.exit_code) == (None, None, None)
    assert "no longer knows" in end.message


def test_a_mock_that_ran_its_time_reached_its_maximum() -> None:
    life = Life.from_rows(job(SandboxSpec(isolation="mock")), [_exited(0)], [])
    assert find_end(life).reason is Reason.MAX_LIFETIME
    assert find_end(Life.from_rows(job(SandboxSpec(isolation="raw_exec")), [_exited(0)], [])).reason is Reason.USER


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Failed to pull `x:1`: dial tcp 1.2.3.4:443: i/o timeout", Reason.IMAGE_UNREACHABLE),
        ("Failed to pull `x:1`: toomanyrequests: rate limit", Reason.IMAGE_UNREACHABLE),
        ("Failed to pull `x:1`: manifest for x:1 not found: manifest unknown", Reason.IMAGE_NOT_FOUND),
        ("Failed to pull `x:1`: API error (404): no such image", Reason.IMAGE_NOT_FOUND),
        ("Failed to pull `x:1`: pull access denied for x, repository does not exist", Reason.IMAGE_DENIED),
        ("Failed to pull `x:1`: unauthorized: authentication required", Reason.IMAGE_DENIED),
        ("failed to launch command with executor: binary could not be found", None),
        ("Failed to create container configuration for image: unknown runtime", None),
    ],
)
def test_what_docker_says_of_a_pull_is_told_apart(said: str, reason: Reason | None) -> None:
    assert image_fault(said) is reason
    failure = event("Driver Failure", 2, DisplayMessage=said)
    end = _end(allocation(failure, status="failed"))
    assert end.reason is (reason or Reason.DRIVER)
    assert end.message.endswith(said)
    assert end.at == BEGAN + 2
