"""One sandbox's life, picked out of what Nomad reports about its job.

A job's id may have been used before (a stopped sandbox created anew under ROCK's wire), and a job may be a group's:
this life is the last registration's, and one member's.  And Nomad replaces what was preempted, or stopped by its
allocation: once a sandbox has begun, no allocation but the one that it began in is it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from rock_nomad.records import Allocation, Evaluation, Job, Row, allocations_of, evaluations_of

__all__ = ["Life"]

_TERMINAL = frozenset({"complete", "failed", "lost"})


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a sandbox from its creation on."""

    job: Job
    allocation: Allocation | None
    """Its place: where it began, or is about to."""
    evaluations: Sequence[Evaluation]
    created_at: float | None
    """Unix seconds by Nomad's clock; None where the evidence is gone."""
    deregistered_at: float | None
    """When the job was stopped; None if it was not, or the evidence is gone."""

    @classmethod
    def from_rows(cls, job: Row, allocations: Iterable[Row], evaluations: Iterable[Row], index: int = 0) -> Life:
        """The present life of a job's sandbox, or of member `index` of its group."""
        record = Job.from_row(job)
        every = evaluations_of(evaluations)
        began = _registration(record, every)
        current = [each for each in every if each.create_index >= began]
        places = [
            each
            for each in allocations_of(allocations)
            # An allocation is always newer than the registration that it is for.
            if each.index == index and (each.create_index > began or not each.create_index)
        ]
        return cls(
            job=record,
            allocation=_place(record, places, current),
            evaluations=current,
            created_at=_created_at(record, current, places),
            deregistered_at=_deregistered_at(record, current),
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs, or will."""
        if _is_closed(self.job):
            return True
        return self.allocation is not None and self.allocation.client_status in _TERMINAL

    @property
    def is_supplanted(self) -> bool:
        """Whether it had begun, and Nomad starts or has started an empty one in its stead."""
        return self.allocation is not None and self.allocation.is_replaced and not _is_closed(self.job)

    @property
    def startup_deadline(self) -> float | None:
        """When it had to be ready."""
        return None if self.created_at is None else self.created_at + self.job.spec.startup_timeout

    @property
    def failed_placement(self) -> Row | None:
        """Why the last attempt to place it failed; None if it was placed, or not tried."""
        if self.allocation is not None:
            return None
        return next((each.failed for each in reversed(self.evaluations) if each.failed is not None), None)


def _is_closed(job: Job) -> bool:
    """Whether Nomad will start nothing for it any more."""
    return job.is_stopped or job.status == "dead"


def _place(job: Job, places: Sequence[Allocation], evaluations: Sequence[Evaluation]) -> Allocation | None:
    begun = next((each for each in places if each.started_at is not None), None)
    if begun is not None:
        return msgspec.structs.replace(begun, went_unknown=True) if _was_given_up(job, evaluations) else begun
    last = places[-1] if places else None
    # What had not begun loses nothing by waiting for another place.
    return None if last is not None and last.is_replaced and not _is_closed(job) else last


def _was_given_up(job: Job, evaluations: Sequence[Evaluation]) -> bool:
    """Whether the job was stopped while its node was gone; the allocation forgets it when the node returns."""
    triggers = [each.triggered_by for each in evaluations]
    if not job.is_stopped or "job-deregister" not in triggers:
        return False
    told = [
        each
        for each in evaluations[: triggers.index("job-deregister")]
        if each.triggered_by in ("max-disconnect-timeout", "reconnect")
    ]
    return bool(told) and told[-1].triggered_by == "max-disconnect-timeout" and told[-1].status != "canceled"


def _registration(job: Job, evaluations: Sequence[Evaluation]) -> int:
    """The index at which this life's job was registered; 0 where the evidence is gone."""
    if not job.is_stopped:
        return job.modify_index
    registered = [each.job_modify_index for each in evaluations if each.triggered_by == "job-register"]
    return max(registered, default=0)


def _created_at(job: Job, evaluations: Sequence[Evaluation], places: Sequence[Allocation]) -> float | None:
    registered = [each.created_at for each in evaluations if each.triggered_by == "job-register"]
    # A deregistration overwrites the time of the registration.
    submitted = [] if job.is_stopped else [job.submitted_at]
    known = [at for at in (*registered, *submitted, *(place.created_at for place in places)) if at > 0]
    return min(known, default=None)


def _deregistered_at(job: Job, evaluations: Sequence[Evaluation]) -> float | None:
    if not job.is_stopped:
        return None
    said = [each.created_at for each in evaluations if each.triggered_by == "job-deregister" and each.created_at > 0]
    # The first one: deregistering again changes nothing.
    return min(said, default=job.submitted_at or None)
