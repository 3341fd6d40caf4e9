"""What Nomad would say of made-up sandboxes: jobs, evaluations and allocations with times that tests can name."""

from __future__ import annotations

from typing import Any

from rock.wire.spec import SandboxSpec
from tests.rock_nomad.samples import render

BEGAN = 1_700_000_000.0
"""When every sandbox here is created, in unix seconds."""


def nanoseconds(after: float) -> int:
    """Nomad's time so many seconds after the creation."""
    return int((BEGAN + after) * 10**9)


def job(spec: SandboxSpec | None = None, *, stopped_after: float | None = None) -> dict[str, Any]:
    """A registered job; a deregistration overwrites its submit time and index, as Nomad's does."""
    rendered = render(spec or SandboxSpec(isolation="raw_exec"))
    if stopped_after is None:
        return {**rendered, "Status": "running", "SubmitTime": nanoseconds(0), "JobModifyIndex": 10}
    return {
        **rendered, "Status": "dead", "Stop": True, "SubmitTime": nanoseconds(stopped_after), "JobModifyIndex": 90,
    }  # fmt: skip


def evaluation(after: float = 0.0, *, trigger: str = "job-register", **fields: object) -> dict[str, Any]:
    """An evaluation of that job."""
    index = 10 if trigger == "job-register" else 90
    begun = {"CreateTime": nanoseconds(after), "CreateIndex": index, "JobModifyIndex": index, "Status": "complete"}
    return {**begun, "TriggeredBy": trigger, **fields}


def failed(**metrics: object) -> dict[str, Any]:
    """The evaluation's word of a group that could not be placed."""
    return {"FailedTGAllocs": {"sandbox": {"NodesEvaluated": 1, "NodesInPool": 1, **metrics}}}


def event(kind: str, after: float, *, exit_code: int = 0, **fields: object) -> dict[str, Any]:
    """A task's event."""
    shown = {"DisplayMessage": f"Exit Code: {exit_code}"} if kind == "Terminated" else {}
    return {"Type": kind, "Time": nanoseconds(after), "ExitCode": exit_code, "Details": {}, **shown, **fields}


def allocation(*events: dict[str, Any], status: str = "running", **fields: object) -> dict[str, Any]:
    """A line of a listing; it started if an event says so."""
    state: dict[str, Any] = {"Events": list(events)}
    if any(each["Type"] == "Started" for each in events):
        state["StartedAt"] = "2023-11-14T22:13:21.000000000Z"  # a second after BEGAN
    placed = {"ID": "alloc-1", "Name": "sbx-a.sandbox[0]", "CreateIndex": 12, "CreateTime": nanoseconds(0.01)}
    return {**placed, "ClientStatus": status, "NodeName": "vm", "TaskStates": {"rocklet": state}, **fields}


STARTED = event("Started", 1.0)
