"""Recordings of Nomad 2.0.5 and Consul 1.8.7, and how a live answer compares with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["SAME_FIELDS", "compare", "job", "load"]

_FOLDER = Path(__file__).parents[2] / "recordings"

SAME_FIELDS = frozenset({
    # What happened to a task, an allocation and a job, in Nomad's words.
    "ClientDescription", "ClientStatus", "DesiredDescription", "DesiredStatus", "DesiredTransition", "Details",
    "DisplayMessage", "DriverError", "ExitCode", "Failed", "FailsTask", "KillTimeout", "Message", "OnUpdate",
    "RestartReason", "Restarts", "Signal", "State", "Status", "StatusDescription", "Stop", "Topic", "Type", "Version",
    # Why something was not placed.
    "ClassExhausted", "CoalescedFailures", "ConstraintFiltered", "DesiredTGUpdates", "DimensionExhausted",
    "NodesAvailable", "NodesEvaluated", "NodesExhausted", "NodesFiltered", "NodesInPool", "NodePool",
    "QueuedAllocations", "TriggeredBy",
    # What a job became.
    "Count", "Datacenters", "Disconnect", "EphemeralDisk", "Identity", "LogConfig", "MaxRunDuration", "Priority",
    "Region", "ReschedulePolicy", "RestartPolicy", "Update", "Summary", "Children",
    # What Consul says of a service.
    "Address", "AddressMode", "InitialStatus", "Provider", "ServiceTags", "Tags", "Weights",
})  # fmt: skip
"""Fields whose values must be those recorded, wherever they stand."""

_SERVER_KEYS = (
    "CreateIndex", "JobModifyIndex", "ModifyIndex", "Stable", "Status", "StatusDescription", "Stop", "SubmitTime",
    "Update", "Version", "VersionTag",
)  # fmt: skip
# Whose keys are not Nomad's but somebody's own words.
_FREE = frozenset({"Attributes", "Config", "Drivers", "Links", "Meta", "ClassEligibility", "Env"})


def load(name: str) -> Any:  # noqa: ANN401 - decoded JSON
    """What was recorded under a name."""
    return json.loads((_FOLDER / f"{name}.json").read_text())


def job(job_id: str, **task: object) -> dict[str, Any]:
    """The recorded job under another id, as one would register it; `task` replaces fields of its task."""
    row = {key: value for key, value in load("job-running").items() if key not in _SERVER_KEYS}
    row |= {"ID": job_id, "Name": job_id, "Meta": {"sandbox_id": job_id}}
    group = row["TaskGroups"][0]
    group["Constraints"] = None  # the server's, which adds it once more
    group["Services"][0]["Name"] = f"rocklet-{job_id}"
    group["Services"][0]["Meta"]["sandbox_id"] = job_id
    group["Tasks"][0] |= task
    return row


def compare(recorded: Any, live: Any, *, ignore: frozenset[str] = frozenset(), path: str = "") -> list[str]:  # noqa: ANN401
    """Where a live answer has other keys, types or, in SAME_FIELDS, values; `ignore` names fields not to look at."""
    if isinstance(recorded, dict) and isinstance(live, dict):
        return _compare_objects(recorded, live, ignore, path)
    if isinstance(recorded, list) and isinstance(live, list):
        if len(recorded) != len(live):
            return [f"{path}: {len(live)} items, recorded {len(recorded)}"]
        pairs = enumerate(zip(recorded, live, strict=True))
        return [found for n, (a, b) in pairs for found in compare(a, b, ignore=ignore, path=f"{path}[{n}]")]
    if type(recorded) is not type(live):
        return [f"{path}: {live!r} ({type(live).__name__}), recorded {recorded!r}"]
    return []


def _compare_objects(recorded: dict[str, Any], live: dict[str, Any], ignore: frozenset[str], path: str) -> list[str]:
    found = [f"{path}: without {key}" for key in recorded.keys() - live.keys() - ignore]
    found += [f"{path}: {key} was not recorded" for key in live.keys() - recorded.keys() - ignore]
    for key in sorted(recorded.keys() & live.keys() - ignore):
        here = f"{path}.{key}"
        if key in SAME_FIELDS and recorded[key] != live[key]:
            found.append(f"{here}: {live[key]!r}, recorded {recorded[key]!r}")
        elif key in _FREE:
            found += [] if isinstance(live[key], type(recorded[key])) else [f"{here}: {live[key]!r}"]
        else:
            found += compare(recorded[key], live[key], ignore=ignore, path=here)
    return found
