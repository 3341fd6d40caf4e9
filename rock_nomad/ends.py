"""How a sandbox ended, by the evidence that Nomad kept: the first rule that finds some decides.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from rock.wire.messages import RockletExit
from rock.wire.reasons import REASONS, Reason
from rock_nomad.isolation import ISOLATIONS
from rock_nomad.life import Life
from rock_nomad.placement import Verdict
from rock_nomad.records import Allocation, TaskEvent

__all__ = ["START_FAILURES", "End", "find_end", "image_fault"]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a sandbox ended."""

    reason: Reason | None
    """None where the evidence is gone; it is never guessed."""
    message: str
    at: float | None
    """Unix seconds by Nomad's clock."""
    exit_code: int | None


def find_end(life: Life, verdict: Verdict | None = None) -> End:
    """How a life that is over ended.  `verdict` is what its failed placement comes to, if it was never placed."""
    place = life.allocation
    found = next(filter(None, (rule(place) for rule in _RULES)), None) if place is not None else None
    if found is None:
        found = _by_deregistration(life, verdict)
    if found is Reason.USER and not _has_rocklet(life) and life.deregistered_at is None:
        # Nobody closed a mock: it runs for its maximum lifetime and exits.
        found = Reason.MAX_LIFETIME
    exit_event = _exit_event(place)
    return End(
        reason=found,
        message=_message(found, place, verdict),
        at=_ended_at(life, exit_event),
        exit_code=exit_event.exit_code if exit_event is not None else None,
    )


def _has_rocklet(life: Life) -> bool:
    isolation = ISOLATIONS.get(life.job.meta.get("isolation", ""))
    return isolation is None or isolation.has_rocklet


# ------------------------------------------------------------------------------------------------------------- rules

_EXITS: Mapping[int, Reason] = {
    RockletExit.IDLE: Reason.IDLE,
    RockletExit.MAX_LIFETIME: Reason.MAX_LIFETIME,
    RockletExit.LEASE: Reason.LEASE,
}

# 1 and 2: an interpreter that could not start the rocklet; 126 and 127: no such program.  From inside a sandbox a
# rocklet can be ended by a signal alone, so that no policy reaches these to be spared a reward.
_EARLY_EXITS = frozenset({1, 2, int(RockletExit.EARLY), 126, 127})

_KILLED = 128 + 9  # by SIGKILL, as the kernel does

START_FAILURES = (
    "Driver Failure",
    "Setup Failure",
    "Failed Validation",
    "Failed Artifact Download",
    "Task hook failed",
    "Plugin became unhealthy",
    "Failed Restoring Task",
)
"""Task events that say a task never started."""


def _by_exit_code(place: Allocation) -> Reason | None:
    exit_event = _exit_event(place)
    if exit_event is None:
        return None
    if exit_event.exit_code == RockletExit.CLOSED:
        # One that was closing as Nomad killed it: then why it was killed is the reason.
        return None if _was_killed(place) else Reason.USER
    return _EXITS.get(exit_event.exit_code)


def _by_max_run_duration(place: Allocation) -> Reason | None:
    said = [place.client_description, *(event.message for event in place.events if event.type == "Killing")]
    return Reason.MAX_LIFETIME if any("exceeded max_run_duration" in each for each in said) else None


def _by_oom(place: Allocation) -> Reason | None:
    # An engine says "OOM killed" of a container in which a command was ever taken, however the container itself ended
    # later: it counts only for an end that looks like it.
    # Source: moby/moby libcontainerd/remote/client.go, processEventStream.
    exit_event = _exit_event(place)
    if exit_event is None or exit_event.exit_code != _KILLED or _was_killed(place):
        return None
    return Reason.OOM if exit_event.details.get("oom_killed") == "true" else None


def _by_preemption(place: Allocation) -> Reason | None:
    return Reason.PREEMPTED if place.preempted_by else None


def _by_drain(place: Allocation) -> Reason | None:
    is_drained = place.is_migrating or place.desired_description in (
        "alloc is being migrated",
        "alloc not needed as node is tainted",
    )
    return Reason.DRAINED if is_drained else None


def _by_loss(place: Allocation) -> Reason | None:
    return Reason.NODE_LOST if place.client_status == "lost" or place.went_unknown else None


def _by_start_failure(place: Allocation) -> Reason | None:
    failure = place.event(*START_FAILURES)
    return None if failure is None else image_fault(failure.message) or Reason.DRIVER


def _by_own_exit(place: Allocation) -> Reason | None:
    exit_event = _exit_event(place)
    if exit_event is None or _was_killed(place):
        return None
    return Reason.EXITED_EARLY if exit_event.exit_code in _EARLY_EXITS else Reason.EXITED


_RULES: Sequence[Callable[[Allocation], Reason | None]] = (
    _by_exit_code,
    _by_max_run_duration,
    _by_oom,
    _by_preemption,
    _by_drain,
    _by_loss,
    _by_start_failure,
    _by_own_exit,
)


def _by_deregistration(life: Life, verdict: Verdict | None) -> Reason | None:
    if life.deregistered_at is None:
        return None
    if life.allocation is not None and life.allocation.started_at is not None:
        return Reason.USER
    deadline = life.startup_deadline
    if deadline is not None and life.deregistered_at >= deadline:
        return Reason.NO_CAPACITY if verdict is not None else Reason.STARTUP_TIMEOUT
    if verdict is not None and verdict.kind != "busy":
        return Reason.IMPOSSIBLE if verdict.kind == "impossible" else Reason.DRIVER
    return Reason.USER


# Of what Docker says when it cannot pull; the first that matches.  It says of a private image that it "does not exist
# or may require docker login": that is a denial.
_IMAGE_FAULTS: Sequence[tuple[Reason, Sequence[str]]] = (
    (
        Reason.IMAGE_UNREACHABLE,
        (
            *("dial tcp", "no such host", "timeout", "connection refused", "connection reset", "deadline exceeded"),
            *("toomanyrequests", "tls:", "eof", "bad gateway", "service unavailable", "internal server error"),
        ),
    ),
    (Reason.IMAGE_DENIED, ("denied", "unauthorized", "authentication", "basic auth", "forbidden")),
    (Reason.IMAGE_NOT_FOUND, ("not found", "unknown", "does not exist", "no such image", "invalid reference")),
)


def image_fault(said: str) -> Reason | None:
    """What a driver's message says of the image; None if the image is not to blame."""
    lowered = said.lower()
    if "failed to pull" not in lowered:
        return None
    return next((reason for reason, words in _IMAGE_FAULTS if any(word in lowered for word in words)), None)


# ---------------------------------------------------------------------------------------------------------- evidence


def _exit_event(place: Allocation | None) -> TaskEvent | None:
    """The end of the rocklet's process, if it ended."""
    ends = [event for event in place.events if event.type == "Terminated"] if place is not None else []
    return ends[-1] if ends else None


def _was_killed(place: Allocation) -> bool:
    """Whether Nomad had begun to end it before it ended."""
    killing, ended = place.event("Killing"), place.event("Terminated")
    return killing is not None and (ended is None or killing.at <= ended.at)


def _ended_at(life: Life, exit_event: TaskEvent | None) -> float | None:
    place = life.allocation
    if exit_event is not None:
        return exit_event.at
    if place is not None and place.finished_at is not None:
        return place.finished_at
    failure = place.event(*START_FAILURES) if place is not None else None
    if failure is not None:
        return failure.at
    return life.deregistered_at or (place.modified_at if place is not None else None)


def _message(reason: Reason | None, place: Allocation | None, verdict: Verdict | None) -> str:
    if reason is None:
        return "it has ended; why, the cluster no longer knows"
    said = REASONS[reason].summary
    if place is None:
        told = verdict.message if verdict is not None and reason is not Reason.USER else ""
    elif reason in (Reason.EXITED, Reason.EXITED_EARLY):
        exit_event = _exit_event(place)
        told = exit_event.message if exit_event is not None else ""
    else:
        failure = place.event(*START_FAILURES)
        told = failure.message if failure is not None else ""
    return f"{said}: {told}" if told else said
