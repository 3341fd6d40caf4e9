"""Every sandbox of the cluster at once, as Nomad's listings have it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rock.wire.messages import SandboxStatus
from rock_nomad.config import ClusterProfile
from rock_nomad.names import JOB_PREFIX, sandbox_id_of
from rock_nomad.nomad import Nomad
from rock_nomad.records import Row, allocations_of, mapping, text
from rock_nomad.status import derive_status

__all__ = ["Snapshot", "add_evaluations", "by_job", "is_ours", "take_snapshot"]

ONE_BY_ONE = 32  # jobs whose evaluations are asked for singly; more of them are worth the whole listing


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What Nomad said of all sandboxes, at about the same time."""

    profile: ClusterProfile
    jobs: Sequence[Row]
    """The sandboxes' own, and no other."""
    allocations: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """By job; likewise the evaluations."""
    evaluations: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    nodes: Sequence[Row] = ()
    now: float
    """Unix seconds, by Nomad's clock."""

    def status(self, job: Row) -> SandboxStatus:
        """What is known of a sandbox, by Nomad's word alone."""
        job_id = text(job.get("ID"))
        return derive_status(
            job,
            self.allocations.get(job_id, ()),
            self.evaluations.get(job_id, ()),
            nodes=self.nodes,
            elastic_pools=self.profile.elastic_pools,
            now=self.now,
        )

    def has_started(self, job: Row) -> bool:
        """Whether its task ever ran; if not, its evaluations and the nodes say why."""
        rows = self.allocations.get(text(job.get("ID")), ())
        return any(each.started_at is not None for each in allocations_of(rows))


async def take_snapshot(nomad: Nomad, profile: ClusterProfile) -> Snapshot:
    """All sandboxes of a cluster, with their allocations.

    Raises ClusterUnavailable.
    """
    # Jobs first: an allocation that is younger than the listing of jobs is passed over, while a job without the
    # allocation that it had would seem to wait.
    listed = await nomad.list_jobs(JOB_PREFIX)
    allocations = by_job((await nomad.list_allocations()).data)
    jobs = [job for job in listed.data if is_ours(job, profile)]
    return Snapshot(profile=profile, jobs=jobs, allocations=allocations, now=listed.date)


async def add_evaluations(nomad: Nomad, snapshot: Snapshot, jobs: Iterable[Row]) -> Snapshot:
    """The snapshot with what explains those of these jobs that their allocations do not.

    Raises ClusterUnavailable.
    """
    puzzling = await _puzzling(nomad, snapshot, jobs)
    if not puzzling:
        return snapshot
    if len(puzzling) > ONE_BY_ONE:
        evaluations = by_job((await nomad.list_evaluations()).data)
    else:
        answers = await asyncio.gather(*(nomad.evaluations(job_id) for job_id in puzzling))
        evaluations = {job_id: [*answer.data] for job_id, answer in zip(puzzling, answers, strict=True)}
    return replace(snapshot, evaluations=evaluations, nodes=(await nomad.nodes()).data)


async def _puzzling(nomad: Nomad, snapshot: Snapshot, jobs: Iterable[Row]) -> list[str]:
    """Those that never started, and those that were stopped while their node was gone."""
    unbegun, stopped = [], []
    for job in jobs:
        if not snapshot.has_started(job):
            unbegun.append(text(job.get("ID")))
        elif job.get("Stop") is True:
            stopped.append(text(job.get("ID")))
    if not stopped:
        return unbegun
    # What Nomad means to do about a lost node is left pending if its job is stopped first.
    pending = (await nomad.list_evaluations(status="pending")).data
    given_up = {text(each.get("JobID")) for each in pending if each.get("TriggeredBy") == "max-disconnect-timeout"}
    return [*unbegun, *(job_id for job_id in stopped if job_id in given_up)]


def is_ours(job: Row, profile: ClusterProfile) -> bool:
    """Whether a job is a sandbox of this cluster: nothing else is ever touched."""
    is_sandbox = sandbox_id_of(text(job.get("ID"))) is not None
    return is_sandbox and mapping(job.get("Meta")).get("managed_by") == profile.name


def by_job(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Allocations, or evaluations, under the job that each is of."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(text(row.get("JobID")), []).append(row)
    return found
