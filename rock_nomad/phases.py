"""How far a sandbox's start has come, step by step.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rock.wire.messages import Phase, PhaseStatus, State
from rock.wire.reasons import Reason
from rock_nomad.ends import START_FAILURES, End, image_fault
from rock_nomad.isolation import IsolationProfile
from rock_nomad.life import Life
from rock_nomad.records import Allocation

__all__ = ["find_phases"]

_TIMEOUTS = frozenset({Reason.NO_CAPACITY, Reason.STARTUP_TIMEOUT})


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    is_done: bool
    began: float | None = None
    ended: float | None = None
    message: str = ""


def find_phases(
    life: Life, state: State, isolation: IsolationProfile, waits_for: str, end: End | None
) -> dict[str, PhaseStatus]:
    """The four steps; `waits_for` is why it has no place yet, or no answer, `end` how it ended if it did."""
    phases: dict[str, PhaseStatus] = {}
    reached = True
    for step in _steps(life, state, isolation, waits_for, end):
        if not reached:
            phases[step.name] = PhaseStatus(status=Phase.WAITING)
        elif step.is_done:
            phases[step.name] = PhaseStatus(
                status=Phase.SUCCESS, message=step.message, started_at=step.began, completed_at=step.ended
            )
        else:
            reached = False
            phases[step.name] = _unfinished(step, end)
    return phases


def _unfinished(step: _Step, end: End | None) -> PhaseStatus:
    if end is None:
        return PhaseStatus(status=Phase.RUNNING, message=step.message, started_at=step.began)
    status = Phase.TIMEOUT if end.reason in _TIMEOUTS else Phase.FAILED
    return PhaseStatus(status=status, message=end.message, started_at=step.began, completed_at=end.at)


def _steps(life: Life, state: State, isolation: IsolationProfile, waits_for: str, end: End | None) -> Iterable[_Step]:
    place = life.allocation
    placed_at = place.created_at if place is not None else None
    yield _Step(
        name="placement",
        is_done=place is not None,
        began=life.created_at,
        ended=placed_at,
        message=waits_for if place is None else "",
    )
    yield _image_pull(place, state, isolation)
    started_at = place.started_at if place is not None else None
    setup = place.event("Task Setup", "Received") if place is not None else None
    yield _Step(
        name="task_start",
        is_done=started_at is not None or state is State.RUNNING,
        began=setup.at if setup is not None else placed_at,
        ended=started_at,
        message=place.events[-1].message if place is not None and place.events else "",
    )
    answered = state is State.RUNNING or (end is not None and end.reason is not Reason.EXITED_EARLY)
    yield _Step(
        name="rocklet",
        is_done=answered or not isolation.has_rocklet,
        began=started_at,
        message=waits_for if isolation.has_rocklet and not answered else "",
    )


def _image_pull(place: Allocation | None, state: State, isolation: IsolationProfile) -> _Step:
    if place is None or not isolation.uses_image:
        return _Step(name="image_pull", is_done=place is not None, message="no image is used")
    pull, failure = place.event("Driver"), place.event(*START_FAILURES)
    began = pull.at if pull is not None else place.created_at
    # A rocklet that answers has its image, though Nomad may take some hundred milliseconds more to say when it began.
    if place.started_at is not None or state is State.RUNNING:
        return _Step(name="image_pull", is_done=True, began=began, ended=place.started_at)
    # What failed for another reason has its image.
    is_done = failure is not None and image_fault(failure.message) is None
    ended = failure.at if failure is not None else None
    return _Step(name="image_pull", is_done=is_done, began=began, ended=ended, message=pull.message if pull else "")
