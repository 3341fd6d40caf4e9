from __future__ import annotations

from typing import Any

from rock.wire.messages import Phase, State
from rock.wire.reasons import Reason
from rock.wire.spec import SandboxSpec
from rock_nomad.ends import End, find_end
from rock_nomad.isolation import ISOLATIONS
from rock_nomad.life import Life
from rock_nomad.phases import find_phases
from tests.rock_nomad.lives import BEGAN, STARTED, allocation, event, job
from tests.rock_nomad.samples import recorded_allocations

DOCKER = SandboxSpec(isolation="runc")
SETUP = event("Task Setup", 0.1, DisplayMessage="Building Task Directory")
PULL = event("Driver", 0.5, DisplayMessage="Downloading image")


def _phases(
    *allocations: dict[str, Any], state: State = State.PENDING, end: End | None = None, mock: bool = False
) -> dict[str, tuple[Phase, str]]:
    life = Life.from_rows(job(DOCKER), allocations, [])
    waits_for = "it is starting" if allocations else "full"
    found = find_phases(life, state, ISOLATIONS["mock" if mock else "runc"], waits_for, end)
    return {name: (phase.status, phase.message) for name, phase in found.items()}


def _statuses(*allocations: dict[str, Any], **facts: Any) -> list[str]:  # noqa: ANN401 - _phases' own
    return [status.value for status, _message in _phases(*allocations, **facts).values()]


def test_the_steps_come_one_after_the_other() -> None:
    assert _statuses() == ["running", "waiting", "waiting", "waiting"]
    assert _statuses(allocation(SETUP, status="pending")) == ["success", "running", "waiting", "waiting"]
    assert _statuses(allocation(SETUP, PULL, status="pending")) == ["success", "running", "waiting", "waiting"]
    assert _statuses(allocation(SETUP, PULL, STARTED)) == ["success", "success", "success", "running"]
    assert _statuses(allocation(SETUP, PULL, STARTED), state=State.RUNNING) == ["success"] * 4


def test_who_answers_has_begun_whatever_nomad_knows_of_it_yet() -> None:
    assert _statuses(allocation(SETUP, PULL, status="pending"), state=State.RUNNING) == ["success"] * 4


def test_each_step_says_what_it_is_at() -> None:
    assert _phases()["placement"] == (Phase.RUNNING, "full")
    assert _phases(allocation(SETUP, PULL, status="pending"))["image_pull"] == (Phase.RUNNING, "Downloading image")
    assert _phases(allocation(STARTED))["rocklet"] == (Phase.RUNNING, "it is starting")


def test_the_step_at_which_it_ended_is_the_one_that_failed() -> None:
    life = Life.from_rows(job(DOCKER), recorded_allocations("allocs-noimage"), [])
    phases = find_phases(life, State.STOPPED, ISOLATIONS["runc"], "", find_end(life))
    assert [phase.status.value for phase in phases.values()] == ["success", "failed", "waiting", "waiting"]
    assert "nosuch.invalid" in phases["image_pull"].message
    nocmd = Life.from_rows(job(DOCKER), recorded_allocations("allocs-nocmd"), [])
    failed = find_phases(nocmd, State.STOPPED, ISOLATIONS["runc"], "", find_end(nocmd))
    assert [phase.status.value for phase in failed.values()] == ["success", "success", "failed", "waiting"]


def test_a_step_that_took_too_long_timed_out() -> None:
    end = End(reason=Reason.NO_CAPACITY, message="no room", at=BEGAN + 180, exit_code=None)
    assert _phases(state=State.STOPPED, end=end)["placement"] == (Phase.TIMEOUT, "no room")


def test_a_rocklet_that_left_before_it_was_ready_failed() -> None:
    early = End(reason=Reason.EXITED_EARLY, message="exit 40", at=BEGAN + 2, exit_code=40)
    assert _phases(allocation(STARTED), state=State.STOPPED, end=early)["rocklet"] == (Phase.FAILED, "exit 40")
    late = End(reason=Reason.IDLE, message="idle", at=BEGAN + 300, exit_code=41)
    assert _phases(allocation(STARTED), state=State.STOPPED, end=late)["rocklet"][0] is Phase.SUCCESS


def test_where_there_is_no_image_or_no_rocklet_there_is_nothing_to_wait_for() -> None:
    assert _statuses(allocation(STARTED), mock=True) == ["success"] * 4


def test_times_are_nomads() -> None:
    life = Life.from_rows(job(DOCKER), [allocation(SETUP, PULL, STARTED)], [])
    phases = find_phases(life, State.PENDING, ISOLATIONS["runc"], "", None)
    times = {name: (phase.started_at, phase.completed_at) for name, phase in phases.items()}
    assert times == {
        "placement": (BEGAN, BEGAN + 0.01),
        "image_pull": (BEGAN + 0.5, BEGAN + 1),
        "task_start": (BEGAN + 0.1, BEGAN + 1),
        "rocklet": (BEGAN + 1, None),
    }
