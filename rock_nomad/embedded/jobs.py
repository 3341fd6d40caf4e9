"""Jobs as Nomad stores them: defaults filled in, unknown keys dropped, mistakes named.  Pure.

Source: jobs read back from Nomad 2.0.5 after registering minimal ones; structs.Job.Validate for the texts.
"""

from typing import Any

from rock_nomad.embedded.rows import NAMESPACE, NODE_POOL, REGION, Row
from rock_nomad.embedded.units import SECOND

JOB_TYPES = ("batch", "service", "system", "sysbatch")
# Nomad requires it of the client of every job with a Consul service.
CONSUL_CONSTRAINT: Row = {"LTarget": "${attr.consul.version}", "Operand": "semver", "RTarget": ">= 1.8.0"}

_DAY = 86400 * SECOND
_JOB: Row = {
    "Affinities": None, "AllAtOnce": False, "Constraints": None, "ConsulNamespace": "", "Datacenters": ["*"],
    "DispatchIdempotencyToken": "", "Dispatched": False, "ID": "", "Meta": None, "Multiregion": None, "Name": "",
    "Namespace": NAMESPACE, "NodePool": NODE_POOL, "NomadTokenID": "", "ParameterizedJob": None, "ParentID": "",
    "Payload": None, "Periodic": None, "Priority": 50, "Region": REGION, "Spreads": None, "Stable": False,
    "StatusDescription": "", "TaskGroups": None, "Type": "service", "UI": None,
    "VaultNamespace": "", "VersionTag": None,
}  # fmt: skip
_UPDATE: Row = {
    "AutoPromote": False, "AutoRevert": False, "Canary": 0, "HealthCheck": "", "HealthyDeadline": 0, "MaxParallel": 0,
    "MinHealthyTime": 0, "ProgressDeadline": 0, "Stagger": 0,
}  # fmt: skip
_GROUP: Row = {
    "Affinities": None, "Constraints": None, "Consul": None, "Count": 1, "Disconnect": None, "EphemeralDisk": {},
    "MaxClientDisconnect": None, "MaxRunDuration": None, "Meta": None, "Migrate": None, "Name": "", "Networks": None,
    "PreventRescheduleOnLost": False, "ReschedulePolicy": {}, "RestartPolicy": {}, "Scaling": None, "Services": None,
    "ShutdownDelay": None, "Spreads": None, "StopAfterClientDisconnect": None, "Tasks": None, "Update": None,
    "Volumes": None,
}  # fmt: skip
_DISK: Row = {"Migrate": False, "SizeMB": 300, "Sticky": False}
_DISCONNECT: Row = {"LostAfter": 0, "Reconcile": "best_score", "Replace": True, "StopOnClientAfter": None}
_RESCHEDULE: Row = {
    "Attempts": 1, "Delay": 5 * SECOND, "DelayFunction": "constant", "Interval": _DAY, "MaxDelay": 0,
    "Unlimited": False,
}  # fmt: skip
_RESTART: Row = {"Attempts": 3, "Delay": 15 * SECOND, "Interval": _DAY, "Mode": "fail", "RenderTemplates": False}
_TASK: Row = {
    "Actions": None, "Affinities": None, "Artifacts": None, "CSIPluginConfig": None, "Config": None,
    "Constraints": None, "Consul": None, "DispatchPayload": None, "Driver": "", "Env": None, "Identities": None,
    "Identity": {
        "Audience": ["nomadproject.io"], "ChangeMode": "", "ChangeSignal": "", "Env": False, "ExtraClaims": None,
        "File": False, "Filepath": "", "Name": "default", "ServiceName": "", "TTL": 0,
    },
    "KillSignal": "", "KillTimeout": 5 * SECOND, "Kind": "", "Leader": False, "Lifecycle": None, "LogConfig": {},
    "Meta": None, "Name": "", "Resources": {}, "RestartPolicy": {}, "ScalingPolicies": None, "Schedule": None,
    "Secrets": None, "Services": None, "ShutdownDelay": 0, "Templates": None, "User": "", "Vault": None,
    "VolumeMounts": None,
}  # fmt: skip
_VOLUME: Row = {
    "AccessMode": "", "AttachmentMode": "", "MountOptions": None, "Name": "", "PerAlloc": False, "ReadOnly": False,
    "Source": "", "Sticky": False, "Type": "",
}  # fmt: skip
_MOUNT: Row = {
    "Destination": "", "PropagationMode": "private", "ReadOnly": False, "SELinuxLabel": "", "Volume": "",
}  # fmt: skip
_SECRET: Row = {"Config": None, "Env": None, "Name": "", "Path": "", "Provider": ""}
_LOGS: Row = {"Disabled": False, "MaxFileSizeMB": 10, "MaxFiles": 10}
_RESOURCES: Row = {
    "CPU": 100, "Cores": 0, "Devices": None, "DiskMB": 0, "IOPS": 0, "MemoryMB": 300, "MemoryMaxMB": 0, "NUMA": None,
    "Networks": None, "SecretsMB": 0,
}  # fmt: skip
_DEVICE: Row = {"Affinities": None, "Constraints": None, "Count": 1, "Name": ""}
_SERVICE: Row = {
    "Address": "", "AddressMode": "auto", "CanaryMeta": None, "CanaryTags": None, "Checks": None, "Cluster": "default",
    "Connect": None, "EnableTagOverride": False, "Identity": None, "Kind": "", "Meta": None, "Name": "",
    "Namespace": NAMESPACE, "OnUpdate": "require_healthy", "PortLabel": "", "Provider": "consul",
    "TaggedAddresses": None, "Tags": None, "TaskName": "", "Weights": None,
}  # fmt: skip
_CHECK: Row = {
    "AddressMode": "", "Args": None, "Body": "", "CheckRestart": None, "Command": "", "Expose": False,
    "FailuresBeforeCritical": 0, "FailuresBeforeWarning": 0, "GRPCService": "", "GRPCUseTLS": False, "Header": None,
    "InitialStatus": "", "Interval": 0, "Method": "", "Name": "", "Notes": "", "OnUpdate": "require_healthy",
    "Path": "", "PortLabel": "", "Protocol": "", "SuccessBeforePassing": 0, "TLSServerName": "",
    "TLSSkipVerify": False, "TaskName": "", "Timeout": 0, "Type": "",
}  # fmt: skip


def canonicalize(given: Row) -> Row:
    """A job with every key that Nomad prints, before the server adds indexes, version and status."""
    job = _fill(_JOB, given)
    job["Name"] = job["Name"] or job["ID"]
    job["Update"] = dict(_UPDATE)
    job["TaskGroups"] = [_group(group) for group in given.get("TaskGroups") or ()] or None
    return job


def problems(job: Row) -> list[str]:
    """What Nomad refuses in a canonical job, in its words."""
    found = [text for key, text in (("ID", "Missing job ID"), ("Name", "Missing job name")) if not job[key]]
    if " " in job["ID"]:
        found.append("Job ID contains a space")
    if job["Type"] not in JOB_TYPES:
        found.append(f'Invalid job type: "{job["Type"]}"')
    if not 1 <= job["Priority"] <= 100:
        found.append("Job priority must be between [1, 100]")
    groups = job["TaskGroups"]
    if not groups:
        return [*found, "Missing job task groups"]
    found += [f"Job task group {n + 1} missing name" for n, group in enumerate(groups) if not group["Name"]]
    for group in groups:
        if inner := _group_problems(group):
            found.append(f"Task group {group['Name']} validation failed: {multierror(inner)}")
    return found


def multierror(errors: list[str]) -> str:
    """Several errors in one text, as Nomad's servers print them."""
    plural = "" if len(errors) == 1 else "s"
    return f"{len(errors)} error{plural} occurred:\n" + "".join(f"\t* {error}\n" for error in errors) + "\n"


def warnings(job: Row) -> str:
    """What Nomad warns about when such a job is registered."""
    found = [
        f'task "{task["Name"]}" in group "{group["Name"]}" defines services, but has no shutdown_delay set'
        for group in job["TaskGroups"] or ()
        for task in group["Tasks"] or ()
        if task["Services"]
    ]
    plural = "" if len(found) == 1 else "s"
    return f"{len(found)} warning{plural}:\n\n" + "\n".join(f"* {text}" for text in found) if found else ""


def _fill(defaults: Row, given: Row) -> Row:
    """The known keys, given or default.  Go prints an empty map or list that it dropped as null."""
    filled = {}
    for key, default in defaults.items():
        value: Any = given.get(key)
        filled[key] = default if value is None or value in ({}, []) else value
    return filled


def _group(given: Row) -> Row:
    group = _fill(_GROUP, given)
    group["EphemeralDisk"] = _fill(_DISK, group["EphemeralDisk"])
    group["ReschedulePolicy"] = _fill(_RESCHEDULE, group["ReschedulePolicy"])
    group["RestartPolicy"] = _fill(_RESTART, group["RestartPolicy"])
    group["Disconnect"] = group["Disconnect"] and _fill(_DISCONNECT, group["Disconnect"])
    volumes = given.get("Volumes") or {}
    group["Volumes"] = {name: _fill({**_VOLUME, "Name": name}, volume) for name, volume in volumes.items()} or None
    group["Networks"] = [_network(network) for network in given.get("Networks") or ()] or None
    group["Services"] = [_service(service, "") for service in given.get("Services") or ()] or None
    group["Tasks"] = [_task(task, group["RestartPolicy"]) for task in given.get("Tasks") or ()] or None
    if any(service["Provider"] == "consul" for service in group["Services"] or ()):
        group["Constraints"] = [*(group["Constraints"] or ()), CONSUL_CONSTRAINT]
    return group


def _task(given: Row, restart: Row) -> Row:
    task = _fill(_TASK, given)
    task["LogConfig"] = _fill(_LOGS, task["LogConfig"])
    task["Resources"] = _fill(_RESOURCES, task["Resources"])
    task["Resources"]["Devices"] = [_fill(_DEVICE, one) for one in task["Resources"]["Devices"] or ()] or None
    task["RestartPolicy"] = _fill(restart, task["RestartPolicy"])
    task["VolumeMounts"] = [_fill(_MOUNT, one) for one in given.get("VolumeMounts") or ()] or None
    task["Secrets"] = [_fill(_SECRET, one) for one in given.get("Secrets") or ()] or None
    task["Services"] = [_service(service, task["Name"]) for service in given.get("Services") or ()] or None
    if any(service["Provider"] == "consul" for service in task["Services"] or ()):
        task["Constraints"] = [*(task["Constraints"] or ()), CONSUL_CONSTRAINT]
    return task


def _network(given: Row) -> Row:
    network: Row = {"Mode": given.get("Mode") or "host"}
    for key in ("DynamicPorts", "ReservedPorts"):
        if ports := [_port(port) for port in given.get(key) or ()]:
            network[key] = ports
    return network


def _port(given: Row) -> Row:
    port = {"HostNetwork": given.get("HostNetwork") or "default", "Label": given.get("Label", "")}
    return port | {key: given[key] for key in ("To", "Value") if given.get(key)}


def _service(given: Row, task: str) -> Row:
    service = _fill(_SERVICE, given)
    service["TaskName"] = task
    service["Checks"] = [_fill({**_CHECK, "TaskName": task}, check) for check in given.get("Checks") or ()] or None
    return service


def _group_problems(group: Row) -> list[str]:
    found = [] if group["Name"] else ["Missing task group name"]
    if group["Count"] < 0:
        found.append("Task group count can't be negative")
    tasks = group["Tasks"]
    if not tasks:
        return [*found, "Missing tasks for task group"]
    found += [f"Task {n + 1} missing name" for n, task in enumerate(tasks) if not task["Name"]]
    for task in tasks:
        inner = [] if task["Name"] else ["Missing task name"]
        inner += [] if task["Driver"] else ["Missing task driver"]
        if inner:
            found.append(f"Task {task['Name']} validation failed: {multierror(inner)}")
    return found
