"""Why a sandbox was not placed: in a sentence, and whether waiting can help.  Pure.

Nomad does not tell *too big for any node* from *full now*; the nodes' totals do.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from rock.wire.sizes import format_size
from rock.wire.spec import SandboxSpec
from rock_nomad.gpus import GpuGroup, gpu_groups
from rock_nomad.isolation import DOCKER_RUNTIMES_ATTRIBUTE
from rock_nomad.jobspec import gpu_pattern
from rock_nomad.records import Row, integer, mapping, rows, text, texts

__all__ = ["Ask", "Verdict", "explain"]

_MIB = 2**20
_NO_DEVICES = "missing devices"
_NAMED_NODES = 5  # with sick devices; a sentence has an end
_SAME_CLASS = "computed class ineligible"  # as another node of its class, for that one's reason


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a failed placement comes to."""

    kind: Literal["busy", "impossible", "driver"]
    """`busy` waits; `impossible` is the caller's to fix; `driver` is the operator's."""
    message: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a job wants of a node."""

    cpu_mhz: int
    memory_mb: int
    disk_mb: int
    gpus: int
    gpu_device: str
    """The name that the job's device request has."""
    gpu_type: str | None
    gpu_memory_mb: int
    node_pool: str
    datacenters: Sequence[str]

    @classmethod
    def from_job(cls, job: Row, spec: SandboxSpec) -> Ask:
        """What a job asks for: a rendered one or a registered one; of a listing's line as much as its spec says."""
        group = next(iter(rows(job.get("TaskGroups"))), {})
        task = next(iter(rows(group.get("Tasks"))), {})
        resources = mapping(task.get("Resources"))
        return cls(
            cpu_mhz=integer(resources.get("CPU")) or int(spec.cpus * 1000),
            memory_mb=integer(resources.get("MemoryMB")) or -(-spec.memory_bytes // _MIB),
            disk_mb=integer(mapping(group.get("EphemeralDisk")).get("SizeMB")) or -(-(spec.disk_bytes or 0) // _MIB),
            gpus=spec.gpus,
            # A listing's line does not have it.
            gpu_device=text(next(iter(rows(resources.get("Devices"))), {}).get("Name")) or "gpu",
            gpu_type=spec.gpu_type,
            gpu_memory_mb=-(-(spec.gpu_memory_bytes or 0) // _MIB),
            node_pool=text(job.get("NodePool")),
            datacenters=texts(job.get("Datacenters")),
        )


def explain(failed: Mapping[str, Any], ask: Ask, nodes: Sequence[Row] = (), *, is_elastic: bool = False) -> Verdict:
    """What a failed placement comes to, from one group of an evaluation's or a plan's `FailedTGAllocs`.

    `nodes` are all nodes, whatever their status, as a listing with resources has them; without them nothing can be
    called impossible.  In an elastic pool nothing is.
    """
    pool = [node for node in nodes if _is_in_pool(node, ask)]
    if pool and not is_elastic and not any(_could_hold(node, ask) for node in pool):
        return Verdict(kind="impossible", message=_too_big(ask, pool))
    kind: Literal["busy", "driver"] = "driver" if _is_operators_fault(failed) else "busy"
    return Verdict(kind=kind, message=_sentence(failed, ask, pool) or _nobody(failed, ask, pool))


# --------------------------------------------------------------------------------------------------------- decisions


def _is_in_pool(node: Row, ask: Ask) -> bool:
    if ask.node_pool not in ("", "all") and text(node.get("NodePool")) != ask.node_pool:
        return False
    datacenter = text(node.get("Datacenter"))
    return not ask.datacenters or any(fnmatch.fnmatchcase(datacenter, glob) for glob in ask.datacenters)


def _could_hold(node: Row, ask: Ask) -> bool:
    """Whether an empty node, with all its devices well, had room; one that tells nothing of itself might."""
    if not mapping(node.get("NodeResources")):
        return True
    asked = {"cpu": ask.cpu_mhz, "memory": ask.memory_mb, "disk": ask.disk_mb}
    if any(_total(node, kind) < amount for kind, amount in asked.items()):
        return False
    return _has_gpus(node, ask)


def _has_gpus(node: Row, ask: Ask) -> bool:
    """Whether a node has what is asked for, sick or well; a request is met from one model, never from two together."""
    groups = gpu_groups(node, ask.gpu_device)
    return not ask.gpus or any(_matches(group, ask) and group.count >= ask.gpus for group in groups)


def _is_operators_fault(failed: Mapping[str, Any]) -> bool:
    """Whether every node that was looked at lacks a driver, a runtime or a volume."""
    filtered = mapping(failed.get("ConstraintFiltered"))
    lacking = [key for key in filtered if key in _LACKS or key.startswith(DOCKER_RUNTIMES_ATTRIBUTE)]
    counted = sum(integer(filtered[key]) for key in (*lacking, _SAME_CLASS) if key in filtered)
    return bool(lacking) and counted >= integer(failed.get("NodesEvaluated"))


def _total(node: Row, kind: str) -> int:
    resources, reserved = mapping(node.get("NodeResources")), mapping(node.get("ReservedResources"))
    block, amount = {"cpu": ("Cpu", "CpuShares"), "memory": ("Memory", "MemoryMB"), "disk": ("Disk", "DiskMB")}[kind]
    return integer(mapping(resources.get(block)).get(amount)) - integer(mapping(reserved.get(block)).get(amount))


def _matches(group: GpuGroup, ask: Ask) -> bool:
    if ask.gpu_type is not None and not re.search(gpu_pattern(ask.gpu_type), group.model):
        return False
    return ask.gpu_memory_mb <= group.memory_mb


# --------------------------------------------------------------------------------------------------------- sentences

_LACKS: Mapping[str, str] = {
    "missing drivers": "without a healthy driver for this isolation",
    "missing compatible host volumes": "without the rocklet's volume",
}

_CONSUL_CONSTRAINT = "${attr.consul."
"""How Nomad's own constraint on services begins; a node that has just booted fails it for some seconds."""


def _sentence(failed: Mapping[str, Any], ask: Ask, pool: Sequence[Row]) -> str:
    """Why each node that was looked at was passed over; empty if none was."""
    evaluated = integer(failed.get("NodesEvaluated"))
    if not evaluated:
        return ""
    said = [_lack(key, integer(count), ask, pool) for key, count in _counts(failed, "DimensionExhausted")]
    said += [_filter(key, integer(count), ask, pool) for key, count in _counts(failed, "ConstraintFiltered")]
    return f"0 of {evaluated} nodes: {'; '.join(said) or 'full'}"


def _counts(failed: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    return sorted(mapping(failed.get(key)).items())


def _nobody(failed: Mapping[str, Any], ask: Ask, pool: Sequence[Row]) -> str:
    name = ask.node_pool or text(failed.get("NodePool"))
    if not pool and not integer(failed.get("NodesInPool")):
        return f"the node pool {name!r} has no nodes"
    return f"no node of the pool {name!r} is ready: all are down, draining, ineligible or in other datacenters"


def _too_big(ask: Ask, pool: Sequence[Row]) -> str:
    """Why no node of the pool could hold it even when empty; Nomad tells only the first thing a node was short of."""
    counts = {
        kind: sum(_total(node, kind) < amount for node in pool)
        for kind, amount in (("cpu", ask.cpu_mhz), ("memory", ask.memory_mb), ("disk", ask.disk_mb))
    }
    said = [_lack(kind, count, ask, pool) for kind, count in counts.items() if count]
    without_gpus = sum(not _has_gpus(node, ask) for node in pool)
    if without_gpus:
        said.append(_filter(_NO_DEVICES, without_gpus, ask, pool))
    return f"0 of {len(pool)} nodes: {'; '.join(said)}"


def _lack(dimension: str, count: int, ask: Ask, pool: Sequence[Row]) -> str:
    """What full nodes are short of."""
    if dimension.startswith("devices"):
        together = " of one model" if ask.gpus > 1 else ""
        return f"{count} without {_gpus(ask)} free{together} ({_models(ask, pool)})"
    asked = {"cpu": ask.cpu_mhz, "memory": ask.memory_mb, "disk": ask.disk_mb}.get(dimension)
    if asked is None:
        return f"{count} out of {dimension}"
    show = _cpus if dimension == "cpu" else _megabytes
    largest = max((_total(node, dimension) for node in pool if mapping(node.get("NodeResources"))), default=0)
    beside = f", the largest node has {show(largest)}" if largest else ""
    return f"{count} short of {dimension} (asked {show(asked)}{beside})"


def _filter(constraint: str, count: int, ask: Ask, pool: Sequence[Row]) -> str:
    """What nodes do not have at all."""
    if constraint == _NO_DEVICES:
        return f"{count} without {_gpus(ask)} ({_models(ask, pool)})"
    if constraint.startswith(DOCKER_RUNTIMES_ATTRIBUTE):
        return f"{count} without the runtime {constraint.rpartition(' ')[2]}"
    if constraint == _SAME_CLASS:
        return f"{count} like these"
    if constraint.startswith(_CONSUL_CONSTRAINT):
        return f"{count} without Consul"
    return f"{count} {_LACKS.get(constraint, f'refused by the constraint {constraint}')}"


def _gpus(ask: Ask) -> str:
    memory = f" of {_megabytes(ask.gpu_memory_mb)} or more" if ask.gpu_memory_mb else ""
    return f"{ask.gpus} x {ask.gpu_type or 'GPU'}{memory}"


def _models(ask: Ask, pool: Sequence[Row]) -> str:
    """The GPU models that exist, how many one node has at most, and which nodes have sick ones."""
    most: dict[str, int] = {}
    sick: list[str] = []
    for group in (group for node in pool for group in gpu_groups(node, ask.gpu_device)):
        most[group.model] = max(most.get(group.model, 0), group.count)
        if group.sick:
            sick.append(f"{len(group.sick)} of {group.count} {group.model} sick on {group.node_name}")
    if not most:
        return "there are none"
    said = "; ".join(f"{model}, up to {count} on a node" for model, count in sorted(most.items()))
    more = f"; and on {len(sick) - _NAMED_NODES} more nodes" if len(sick) > _NAMED_NODES else ""
    return f"there are: {said}{''.join(f'; {each}' for each in sick[:_NAMED_NODES])}{more}"


def _cpus(mhz: int) -> str:
    return f"{mhz / 1000:g} CPUs"


def _megabytes(size_mb: int) -> str:
    return format_size(size_mb * _MIB)
