"""The keys of a Nomad job, as its HTTP API spells them, because Nomad takes a misspelt one in silence.

What only a server sets, what belongs to other job types and Consul Connect are left out: a sandbox has none of it.
Source: hashicorp/nomad v2.0.5, `api/{jobs,tasks,services,resources,constraint,consul}.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["unknown_keys"]

_Table = dict[str, Any]

_LEAF: Final = None
"""A scalar, a list of scalars, or a map whose keys are the operator's own."""


def _leaves(names: str) -> _Table:
    return dict.fromkeys(names.split(), _LEAF)


_CONSTRAINT = _leaves("LTarget RTarget Operand")
_AFFINITY = _leaves("LTarget RTarget Operand Weight")
_SPREAD = {**_leaves("Attribute Weight"), "SpreadTarget": _leaves("Value Percent")}
_RESTART = _leaves("Interval Attempts Delay Mode RenderTemplates")
_PORT = _leaves("Label Value To HostNetwork IgnoreCollision")
_NETWORK = {
    **_leaves("Mode Device CIDR IP Hostname MBits"),
    "DNS": _leaves("Servers Searches Options"),
    "ReservedPorts": _PORT,
    "DynamicPorts": _PORT,
    "CNI": _leaves("Args"),
}
_IDENTITY = _leaves("Name Audience ChangeMode ChangeSignal Env File Filepath ServiceName TTL ExtraClaims")
_CHECK_RESTART = _leaves("Limit Grace IgnoreWarnings")
_CHECK = {
    **_leaves("Name Type Command Args Path Protocol PortLabel Expose AddressMode Advertise Interval Timeout"),
    **_leaves("InitialStatus Notes TLSServerName TLSSkipVerify Header Method GRPCService GRPCUseTLS TaskName"),
    **_leaves("SuccessBeforePassing FailuresBeforeCritical FailuresBeforeWarning Body OnUpdate"),
    "CheckRestart": _CHECK_RESTART,
}
_SERVICE = {
    **_leaves("Name Tags CanaryTags EnableTagOverride PortLabel AddressMode Address Meta CanaryMeta TaggedAddresses"),
    **_leaves("TaskName OnUpdate Provider Cluster Kind"),
    "Checks": _CHECK,
    "CheckRestart": _CHECK_RESTART,
    "Identity": _IDENTITY,
    "Weights": _leaves("Passing Warning"),
}
_CONSUL = _leaves("Namespace Cluster Partition")
_LOG = _leaves("MaxFiles MaxFileSizeMB Enabled Disabled")
_RESOURCES = {
    **_leaves("CPU Cores MemoryMB MemoryMaxMB DiskMB SecretsMB IOPS"),
    "Networks": _NETWORK,
    "Devices": {**_leaves("Name Count"), "Constraints": _CONSTRAINT, "Affinities": _AFFINITY},
    "NUMA": _leaves("Affinity Devices"),
}
_TEMPLATE = {
    **_leaves("SourcePath DestPath EmbeddedTmpl ChangeMode ChangeSignal Once Splay Perms Uid Gid LeftDelim RightDelim"),
    **_leaves("Envvars VaultGrace ErrMissingKey"),
    "ChangeScript": _leaves("Command Args Timeout FailOnError RunOnFirstRender"),
    "Wait": _leaves("Min Max"),
}
_TASK = {
    # A driver's configuration is the driver's own; its Env and Meta are maps.
    **_leaves("Name Driver User Config Env Meta KillTimeout Leader ShutdownDelay KillSignal Kind"),
    "Lifecycle": _leaves("Hook Sidecar"),
    "Constraints": _CONSTRAINT,
    "Affinities": _AFFINITY,
    "Services": _SERVICE,
    "Resources": _RESOURCES,
    "RestartPolicy": _RESTART,
    "LogConfig": _LOG,
    "Artifacts": _leaves("GetterSource GetterOptions GetterHeaders GetterMode GetterInsecure RelativeDest Chown"),
    "Vault": _leaves("Policies Role Namespace Cluster Env DisableFile ChangeMode ChangeSignal AllowTokenExpiration"),
    "Consul": _CONSUL,
    "Templates": _TEMPLATE,
    "Secrets": _leaves("Name Provider Path Config Env"),
    "VolumeMounts": _leaves("Volume Destination ReadOnly PropagationMode SELinuxLabel"),
    "Identity": _IDENTITY,
    "Identities": _IDENTITY,
}
_VOLUME = {
    **_leaves("Name Type Source ReadOnly Sticky AccessMode AttachmentMode PerAlloc"),
    "MountOptions": _leaves("FSType MountFlags"),
}
_GROUP = {
    **_leaves("Name Count Meta ShutdownDelay MaxRunDuration"),
    "Constraints": _CONSTRAINT,
    "Affinities": _AFFINITY,
    "Spreads": _SPREAD,
    "Tasks": _TASK,
    "Volumes": {"*": _VOLUME},
    "RestartPolicy": _RESTART,
    "ReschedulePolicy": _leaves("Attempts Interval Delay DelayFunction MaxDelay Unlimited"),
    "Disconnect": _leaves("LostAfter StopOnClientAfter Replace Reconcile"),
    "EphemeralDisk": _leaves("Sticky Migrate SizeMB"),
    "Networks": _NETWORK,
    "Services": _SERVICE,
    "Consul": _CONSUL,
}
_JOB = {
    **_leaves("ID Name Namespace Region Type Priority AllAtOnce Datacenters NodePool Meta"),
    **_leaves("ConsulNamespace VaultNamespace"),
    "Constraints": _CONSTRAINT,
    "Affinities": _AFFINITY,
    "Spreads": _SPREAD,
    "TaskGroups": _GROUP,
    "UI": {**_leaves("Description"), "Links": _leaves("Label URL")},
}


def unknown_keys(job: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The path of each key that is none of a sandbox job's, with the keys there are beside it."""
    return _walk(job, _JOB, "")


def _walk(node: object, table: _Table, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(node, list):
        for position, item in enumerate(node):
            yield from _walk(item, table, f"{path}[{position}]")
    elif isinstance(node, Mapping):
        for key, value in node.items():
            here = f"{path}.{key}" if path else str(key)
            below = table.get(key, table.get("*", _LEAF))
            if key not in table and "*" not in table:
                yield here, sorted(table)
            elif below is not _LEAF:
                yield from _walk(value, below, here)
