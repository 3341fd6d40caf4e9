"""The JSON objects that Nomad prints, as templates and projections.  Pure.

A row is replaced, never changed in place: events, blocking queries and lists may share it.
Source of every shape: recordings of Nomad 2.0.5.
"""

from typing import Any

Row = dict[str, Any]  # decoded JSON

NAMESPACE = "default"
REGION = "global"
DATACENTER = "dc1"
NODE_POOL = "default"

_EVENT_FIELDS: Row = {
    "DiskLimit": 0, "DownloadError": "", "DriverError": "", "DriverMessage": "", "ExitCode": 0, "FailedSibling": "",
    "FailsTask": False, "GenericSource": "", "KillError": "", "KillReason": "", "KillTimeout": 0, "Message": "",
    "RestartReason": "", "SetupError": "", "Signal": 0, "StartDelay": 0, "TaskSignal": "", "TaskSignalReason": "",
    "ValidationError": "", "VaultError": "",
}  # fmt: skip
_RESOURCES: Row = {
    "CPU": 0, "Cores": 0, "Devices": None, "DiskMB": 0, "IOPS": 0, "MemoryMB": 0, "MemoryMaxMB": 0, "NUMA": None,
    "Networks": None, "SecretsMB": 0,
}  # fmt: skip
_UPDATES: Row = {
    "Canary": 0, "DestructiveUpdate": 0, "Disconnect": 0, "Ignore": 0, "InPlaceUpdate": 0, "Migrate": 0, "Place": 0,
    "Preemptions": 0, "Reconnect": 0, "RescheduleLater": 0, "RescheduleNow": 0, "Stop": 0,
}  # fmt: skip
_TRANSITION: Row = {
    "ForceReschedule": None, "Migrate": None, "MigrateDisablePlacement": None, "NoShutdownDelay": None,
    "Reschedule": None,
}  # fmt: skip
_SUMMARY_COUNTS = ("Complete", "Failed", "Lost", "Queued", "Running", "Starting", "Unknown")
_ALLOCATION_STUB = (
    "ClientDescription", "ClientStatus", "CreateIndex", "CreateTime", "DesiredDescription", "DesiredStatus", "EvalID",
    "ID", "JobID", "ModifyIndex", "ModifyTime", "Name", "Namespace", "NodeID", "NodeName", "TaskGroup",
)  # fmt: skip
_JOB_STUB = (
    "CreateIndex", "Datacenters", "ID", "JobModifyIndex", "ModifyIndex", "Multiregion", "Name", "Namespace",
    "NodePool", "ParentID", "Priority", "Status", "StatusDescription", "Stop", "SubmitTime", "Type",
)  # fmt: skip
_NODE_STUB = (
    "CreateIndex", "Datacenter", "Drain", "Drivers", "HostVolumes", "ID", "LastDrain", "ModifyIndex", "Name",
    "NodeClass", "NodePool", "SchedulingEligibility", "Status", "StatusDescription",
)  # fmt: skip


def task_event(kind: str, at: int, display: str, details: dict[str, str], **fields: object) -> Row:
    """One entry of a task's `Events`; `at` in nanoseconds since the epoch."""
    return {**_EVENT_FIELDS, **fields, "Type": kind, "Time": at, "DisplayMessage": display, "Details": details}


def resources(**fields: object) -> Row:
    """A `Resources` object, zero but for the fields given."""
    return {**_RESOURCES, **fields}


def desired_updates(**counts: int) -> Row:
    """What a plan intends for one task group."""
    return {**_UPDATES, **counts}


def plan_annotations(group: str, **counts: int) -> Row:
    """The `PlanAnnotations` of an evaluation."""
    return {"DesiredTGUpdates": {group: desired_updates(**counts)}, "PreemptedAllocs": None}


def placement_metrics(*, nodes: int, **fields: object) -> Row:
    """What a placement looked at: the metrics of an allocation, or the entry of `FailedTGAllocs`."""
    return {
        "AllocationTime": 0, "ClassExhausted": None, "ClassFiltered": None, "CoalescedFailures": 0,
        "ConstraintFiltered": None, "DimensionExhausted": None, "NodePool": NODE_POOL,
        "NodesAvailable": {DATACENTER: nodes} if nodes else {}, "NodesEvaluated": nodes, "NodesExhausted": 0,
        "NodesFiltered": 0, "NodesInPool": nodes, "QuotaExhausted": None, "ResourcesExhausted": None,
        "ScoreMetaData": None, "Scores": None, **fields,
    }  # fmt: skip


def allocation_stub(allocation: Row, job: Row, *, task_states: bool) -> Row:
    """An allocation as lists show it."""
    stub = {key: allocation.get(key, "") for key in _ALLOCATION_STUB}
    stub |= {
        "DeploymentStatus": None, "DesiredTransition": _TRANSITION, "FollowupEvalID": "", "JobType": job["Type"],
        "JobVersion": job["Version"], "NextAllocation": "", "PreemptedAllocations": None, "PreemptedByAllocation": "",
        "RescheduleTracker": None, "TaskStates": allocation.get("TaskStates") if task_states else None,
    }  # fmt: skip
    return stub


def job_stub(job: Row, summary: Row, *, meta: bool) -> Row:
    """A job as lists show it."""
    stub = {key: job[key] for key in _JOB_STUB}
    stub |= {"JobSummary": summary, "ParameterizedJob": False, "Periodic": False}
    if meta and job["Meta"]:
        stub["Meta"] = job["Meta"]
    return stub


def node_stub(node: Row, *, show_resources: bool) -> Row:
    """A node as lists show it."""
    stub = {key: node[key] for key in _NODE_STUB}
    stub |= {"Address": node["HTTPAddr"].rpartition(":")[0], "Version": node["Attributes"]["nomad.version"]}
    if show_resources:
        stub |= {"NodeResources": node["NodeResources"], "ReservedResources": node["ReservedResources"]}
    return stub


def job_summary(job: Row, modify_index: int, counts: dict[str, int]) -> Row:
    """How many members of the job are in which state; `counts` by Nomad's names for them."""
    group = job["TaskGroups"][0]["Name"]
    return {
        "Children": {"Dead": 0, "Pending": 0, "Running": 0}, "CreateIndex": job["CreateIndex"], "JobID": job["ID"],
        "ModifyIndex": modify_index, "Namespace": job["Namespace"],
        "Summary": {group: {name: counts.get(name, 0) for name in _SUMMARY_COUNTS}},
    }  # fmt: skip
