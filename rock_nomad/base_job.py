"""The job that every sandbox's job begins as: `jobspecs/sandbox.json`, or the operator's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rock_nomad.config import ConfigError
from rock_nomad.job_keys import unknown_keys
from rock_nomad.shipped import shipped_file

__all__ = ["GROUP", "TASK", "load_base_job"]

GROUP = "sandbox"
TASK = "rocklet"

# What makes a sandbox one: it is never restarted, rescheduled or replaced by an empty one.
_GROUP_INVARIANTS: Mapping[str, Mapping[str, Any]] = {
    "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
    "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
    "Disconnect": {"Replace": False, "Reconcile": "keep_original"},
}

# What the renderer writes; a base job that says it too would be overruled in silence.
_RENDERED_JOB = ("ID", "Name", "Namespace", "Region", "NodePool", "Datacenters")
_RENDERED_GROUP = ("MaxRunDuration",)
_RENDERED_TASK = ("Driver", "Resources")


def load_base_job(path: Path | None = None) -> dict[str, Any]:
    """The base job in a JSON file; without one the distribution's own.

    Raises ConfigError: an unknown key, a key that is the renderer's, or one that would give up what a sandbox is; the
    message names key and file.
    """
    source = path or shipped_file("sandbox.json")
    try:
        job = json.loads(source.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{source}: cannot be read: {error}") from error
    fault = _fault(job)
    if fault:
        raise ConfigError(f"{source}: {fault}")
    return dict(job)


def _fault(job: object) -> str:
    """What is wrong with a base job, or nothing."""
    if not isinstance(job, dict):
        return "it must be a JSON object: a Nomad job without the outer Job"
    for key, known in unknown_keys(job):
        return f"unknown key {key}, which Nomad would ignore in silence; the keys there are: {', '.join(known)}"
    if job.get("Type") != "batch":
        return f"Type is {job.get('Type')!r}; a sandbox is a batch job"
    return _fault_in_group(job)


def _fault_in_group(job: dict[str, Any]) -> str:
    groups = job.get("TaskGroups")
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
        return "TaskGroups must hold one group"
    group = groups[0]
    if group.get("Name") != GROUP or group.get("Count") != 1:
        return f"TaskGroups[0] must have the Name {GROUP!r} and the Count 1"
    for key, wanted in _GROUP_INVARIANTS.items():
        given = group.get(key)
        if not isinstance(given, dict) or any(given.get(name) != value for name, value in wanted.items()):
            return f"TaskGroups[0].{key} must have {json.dumps(wanted)}: a sandbox that died is never replaced"
    networks = group.get("Networks")
    ports = networks[0].get("DynamicPorts") if isinstance(networks, list) and networks else None
    if not ports or ports[0].get("Label") != "rocklet":
        return "TaskGroups[0].Networks[0].DynamicPorts[0] must have the Label 'rocklet': the rocklet listens there"
    return _fault_in_task(job, group)


def _fault_in_task(job: dict[str, Any], group: dict[str, Any]) -> str:
    tasks = group.get("Tasks")
    if not isinstance(tasks, list) or not tasks or not isinstance(tasks[0], dict) or tasks[0].get("Name") != TASK:
        return f"TaskGroups[0].Tasks[0] must have the Name {TASK!r}"
    if not tasks[0].get("Leader"):
        return "TaskGroups[0].Tasks[0].Leader must be true: the sandbox ends with its rocklet"
    services = tasks[0].get("Services")
    if not isinstance(services, list) or not services or services[0].get("PortLabel") != "rocklet":
        return "TaskGroups[0].Tasks[0].Services[0] must have the PortLabel 'rocklet': by it the rocklet is found"
    owned = [
        *(key for key in _RENDERED_JOB if key in job),
        *(f"TaskGroups[0].{key}" for key in _RENDERED_GROUP if key in group),
        *(f"TaskGroups[0].Tasks[0].{key}" for key in _RENDERED_TASK if key in tasks[0]),
    ]
    return f"{owned[0]} is the renderer's to write; set it in the cluster's profile" if owned else ""
