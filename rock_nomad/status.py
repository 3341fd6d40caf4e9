"""The derivation: what Nomad reports, and perhaps what the rocklet says of its clocks, becomes what a user is told.

Pure: no I/O and no clock; all times are Nomad's.  It works from whole objects and from lines of listings, of which the
latter know neither devices nor the past of a lost node.

*Running* means that the rocklet has answered.  Whoever has asked it passes its `clocks`, or `is_answering=False`: then
a sandbox whose task runs is pending until its startup timeout, and running with a warning after it.  Whoever has not
asked (a listing) gets Nomad's word, which may trail by a second; `observed_by` says which.  A sandbox without a rocklet
(isolation `mock`) is judged by Nomad alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from rock.wire.messages import (
    Clocks,
    Deadlines,
    Phase,
    PhaseStatus,
    RockletEndpoint,
    SandboxStatus,
    State,
    Transition,
)
from rock_nomad.ends import End, find_end
from rock_nomad.isolation import ISOLATIONS, IsolationProfile
from rock_nomad.life import Life
from rock_nomad.names import sandbox_id_of
from rock_nomad.phases import find_phases
from rock_nomad.placement import Ask, Verdict, explain
from rock_nomad.records import Allocation, Row

__all__ = ["NODE_DISCONNECTED", "SILENT", "derive_status"]

NODE_DISCONNECTED = "node_disconnected: its node has lost touch with the cluster; if it still runs, it goes on"
"""A warning."""

SILENT = "its rocklet does not answer"
"""A warning."""


def derive_status(  # noqa: PLR0913 - each a source of its own
    job: Row,
    allocs: Iterable[Row],
    evals: Iterable[Row],
    *,
    nodes: Sequence[Row] = (),
    elastic_pools: Sequence[str] = (),
    clocks: Clocks | None = None,
    endpoint: RockletEndpoint | None = None,
    is_answering: bool | None = None,
    silence: str = "",
    now: float | None = None,
    index: int | None = None,
) -> SandboxStatus:
    """What is known about a job's sandbox, or about member `index` of its group.

    `nodes`, all there are, tell impossible from busy; `clocks` is the rocklet's word, or else `is_answering` whether it
    answered (None: nobody asked) and `silence` why it could not be asked; `now` is the Date of a reply of Nomad's, in
    unix seconds.  It never raises.
    """
    life = Life.from_rows(job, allocs, evals, index or 0)
    isolation = ISOLATIONS.get(life.job.meta.get("isolation", ""), _UNKNOWN)
    is_answering = True if clocks is not None else is_answering
    verdict = _verdict(life, job, nodes, elastic_pools)
    state = _state(life, isolation, is_answering, now)
    end = find_end(life, verdict) if state is State.STOPPED else None
    phases = find_phases(life, state, isolation, _waits_for(life, verdict, silence), end)
    place, spec = life.allocation, life.job.spec
    return SandboxStatus(
        sandbox_id=_sandbox_id(life, index),
        state=state,
        reason=end.reason if end is not None else None,
        message=_message(state, phases, end),
        phases=phases,
        image=spec.image,
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
        disk_bytes=spec.disk_bytes,
        gpus=spec.gpus,
        gpu_type=spec.gpu_type,
        device_ids=place.device_ids if place is not None else [],
        isolation=life.job.meta.get("isolation", ""),
        labels=spec.labels,
        tenant=life.job.meta.get("tenant", ""),
        created_at=life.created_at,
        started_at=place.started_at if place is not None else None,
        stopped_at=end.at if end is not None else None,
        exit_code=end.exit_code if end is not None else None,
        deadlines=_deadlines(life, state, clocks, now),
        history=_history(life, end),
        warnings=_warnings(life, isolation, state, silence or SILENT if is_answering is False else ""),
        alloc_id=place.id if place is not None else None,
        node=(place.node_name or None) if place is not None else None,
        host_ip=_host_ip(place, endpoint),
        observed_by="rocklet" if clocks is not None and state is State.RUNNING else "nomad",
        rocklet=endpoint if state is State.RUNNING else None,
    )


def _host_ip(place: Allocation | None, endpoint: RockletEndpoint | None) -> str | None:
    """The node's address, which listings of allocations leave out and the rocklet's tells."""
    if place is not None and place.host_ip:
        return place.host_ip
    return urlsplit(endpoint.url).hostname if endpoint is not None else None


_UNKNOWN = IsolationProfile(driver="")
"""Of a job that says none."""


def _sandbox_id(life: Life, index: int | None) -> str:
    return sandbox_id_of(life.job.id, index) or life.job.meta.get("sandbox_id") or life.job.id


def _verdict(life: Life, job: Row, nodes: Sequence[Row], elastic_pools: Sequence[str]) -> Verdict | None:
    """What its failed placement comes to; None if it was placed, or never failed to be."""
    if life.failed_placement is None:
        return None
    ask = Ask.from_job(job, life.job.spec)
    return explain(life.failed_placement, ask, nodes, is_elastic=ask.node_pool in elastic_pools)


def _state(life: Life, isolation: IsolationProfile, is_answering: bool | None, now: float | None) -> State:
    if life.is_over:
        return State.STOPPED
    if is_answering:
        return State.RUNNING
    place = life.allocation
    if place is None or place.client_status not in ("running", "unknown"):
        return State.PENDING
    if is_answering is False and isolation.has_rocklet:
        deadline = life.startup_deadline
        return State.PENDING if now is None or deadline is None or now < deadline else State.RUNNING
    return State.RUNNING


def _waits_for(life: Life, verdict: Verdict | None, silence: str) -> str:
    if life.allocation is not None:
        return silence or "it is starting"
    return verdict.message if verdict is not None else "it waits for the scheduler"


def _message(state: State, phases: dict[str, PhaseStatus], end: End | None) -> str:
    """What it waits for, or how it ended."""
    if end is not None:
        return end.message
    if state is State.RUNNING:
        return ""
    return next((f"{name}: {each.message}" for name, each in phases.items() if each.status is Phase.RUNNING), "")


def _deadlines(life: Life, state: State, clocks: Clocks | None, now: float | None) -> Deadlines:
    if state is State.STOPPED:
        return Deadlines()
    if state is State.PENDING:
        return Deadlines(startup=life.startup_deadline)
    if clocks is None or now is None:
        started_at = life.allocation.started_at if life.allocation is not None else None
        return Deadlines(max_lifetime=None if started_at is None else started_at + life.job.spec.max_lifetime)
    return Deadlines(
        idle=_after(now, clocks.idle_remaining),
        max_lifetime=_after(now, clocks.max_lifetime_remaining),
        lease=_after(now, clocks.lease_remaining),
    )


def _after(now: float, remaining: float | None) -> float | None:
    return None if remaining is None else now + remaining


def _history(life: Life, end: End | None) -> list[Transition]:
    started_at = life.allocation.started_at if life.allocation is not None else None
    history = []
    if started_at is not None:
        history.append(Transition(from_state=State.PENDING, to_state=State.RUNNING, event="started", at=started_at))
    if end is not None and end.at is not None:
        before = State.PENDING if started_at is None else State.RUNNING
        event = end.reason.value if end.reason is not None else "ended"
        history.append(Transition(from_state=before, to_state=State.STOPPED, event=event, at=end.at))
    return history


def _warnings(life: Life, isolation: IsolationProfile, state: State, silence: str) -> list[str]:
    said = isolation.warnings(life.job.spec, life.job.meta.get("isolation", "")) if isolation is not _UNKNOWN else []
    if state is State.RUNNING and life.allocation is not None and life.allocation.client_status == "unknown":
        said.append(NODE_DISCONNECTED)
    if state is State.RUNNING and silence and isolation.has_rocklet:
        said.append(silence)
    return said
