"""Does this request fit this node beside what lives there; if not, Nomad's own reason.

Pure but for the ports, which are drawn at random as Nomad does.

Source of the order of the checks: hashicorp/nomad scheduler/feasible/stack.go and rank.go (BinPackIterator).
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rock_nomad.embedded.constraints import is_met
from rock_nomad.embedded.devices import DeviceRequest, constraint_triples, group_id, matching_groups
from rock_nomad.embedded.rows import DATACENTER, Row, placement_metrics, resources

_PORT_DRAWS = 20  # random tries before every port is looked at in turn


@dataclass(frozen=True)
class Request:
    """What one member of a job asks of a node."""

    task: str
    driver: str
    cpu: int  # 1000 = one core
    memory_mb: int
    disk_mb: int
    dynamic_ports: tuple[str, ...] = ()  # labels
    static_ports: tuple[tuple[str, int], ...] = ()  # (label, port)
    devices: tuple[DeviceRequest, ...] = ()
    constraints: tuple[tuple[str, str, str], ...] = ()
    datacenters: tuple[str, ...] = ("*",)
    host_volumes: tuple[tuple[str, bool], ...] = ()  # (name on the node, is read-only)

    @classmethod
    def from_job(cls, job: Row) -> "Request":
        """What each member of a canonical job asks for."""
        group = job["TaskGroups"][0]
        task = group["Tasks"][0]
        network = (group["Networks"] or [{}])[0]
        constraints = [part for rows in (job, group, task) for part in constraint_triples(rows["Constraints"])]
        return cls(
            task=task["Name"],
            driver=task["Driver"],
            cpu=task["Resources"]["CPU"],
            memory_mb=task["Resources"]["MemoryMB"],
            disk_mb=group["EphemeralDisk"]["SizeMB"],
            dynamic_ports=tuple(port["Label"] for port in network.get("DynamicPorts", ())),
            static_ports=tuple((port["Label"], port["Value"]) for port in network.get("ReservedPorts", ())),
            devices=tuple(DeviceRequest.from_row(row) for row in task["Resources"]["Devices"] or ()),
            constraints=tuple(constraints),
            datacenters=tuple(job["Datacenters"]),
            host_volumes=tuple((one["Source"], one["ReadOnly"]) for one in (group["Volumes"] or {}).values()),
        )


@dataclass(frozen=True)
class Placement:
    """What a node gives to a request."""

    request: Request
    ports: dict[str, int]  # by label
    devices: dict[str, tuple[str, ...]]  # device ids by group id


@dataclass(frozen=True)
class Refusal:
    """Why a node cannot take a request, in Nomad's words: never (`filtered`), or not now (`exhausted`)."""

    request: Request
    filtered: str | None = None
    exhausted: str | None = None

    def metrics(self, coalesced: int) -> Row:
        """The entry of `FailedTGAllocs`; `coalesced` members more failed for the same reason."""
        if self.filtered is not None:
            return placement_metrics(
                nodes=1, NodesFiltered=1, ConstraintFiltered={self.filtered: 1}, CoalescedFailures=coalesced
            )
        if self.exhausted is None:
            return placement_metrics(nodes=0, CoalescedFailures=coalesced)
        asked = {"cpu": {"CPU": self.request.cpu}, "memory": {"MemoryMB": self.request.memory_mb}}
        return placement_metrics(
            nodes=1,
            NodesExhausted=1,
            DimensionExhausted={self.exhausted: 1},
            ResourcesExhausted={self.request.task: resources(**asked.get(self.exhausted, {}))},
            CoalescedFailures=coalesced,
        )


@dataclass
class Usage:
    """What live allocations hold of a node.  Kept as sums and sets, so that a placement costs no walk over them."""

    cpu: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    ports: set[int] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)

    def take(self, placement: Placement) -> None:
        """Book a placement."""
        self._add(placement.request, 1)
        self.ports |= set(placement.ports.values())
        self.devices |= _device_ids(placement)

    def release(self, placement: Placement) -> None:
        """Give a placement back."""
        self._add(placement.request, -1)
        self.ports -= set(placement.ports.values())
        self.devices -= _device_ids(placement)

    def _add(self, request: Request, sign: int) -> None:
        self.cpu += sign * request.cpu
        self.memory_mb += sign * request.memory_mb
        self.disk_mb += sign * request.disk_mb


def place(node: Row, usage: Usage, request: Request, is_bindable: Callable[[int], bool]) -> Placement | Refusal:
    """Where on the node a request would live, or why it cannot.

    `is_bindable` says whether nobody else on the machine holds a port.
    """
    if not any(_matches_datacenter(pattern) for pattern in request.datacenters):
        return Refusal(request)
    if (filtered := _filtered(node, request)) is not None:
        return Refusal(request, filtered=filtered)
    ports = _draw_ports(node, usage, request, is_bindable)
    if isinstance(ports, str):
        return Refusal(request, exhausted=ports)
    devices = _draw_devices(node, usage, request)
    if devices is None:
        return Refusal(request, exhausted="devices: no devices match request")
    totals = node["NodeResources"]
    for dimension, used, asked, total in (
        ("cpu", usage.cpu, request.cpu, totals["Cpu"]["CpuShares"]),
        ("memory", usage.memory_mb, request.memory_mb, totals["Memory"]["MemoryMB"]),
        ("disk", usage.disk_mb, request.disk_mb, totals["Disk"]["DiskMB"]),
    ):
        if used + asked > total:
            return Refusal(request, exhausted=dimension)
    return Placement(request, ports, devices)


def resolve_target(node: Row, target: str) -> str | None:
    """The value of a constraint's or an interpolation's target on a node; a literal stands for itself."""
    if not (target.startswith("${") and target.endswith("}")):
        return target
    name = target[2:-1]
    fixed = {
        "node.unique.id": "ID", "node.unique.name": "Name", "node.datacenter": "Datacenter", "node.pool": "NodePool",
        "node.class": "NodeClass",
    }  # fmt: skip
    if name in fixed:
        return str(node[fixed[name]])
    for prefix, key in (("attr.", "Attributes"), ("meta.", "Meta")):
        if name.startswith(prefix):
            value: str | None = node[key].get(name.removeprefix(prefix))
            return value
    return None


def _matches_datacenter(pattern: str) -> bool:
    return pattern in ("*", DATACENTER) or (pattern.endswith("*") and DATACENTER.startswith(pattern[:-1]))


def _filtered(node: Row, request: Request) -> str | None:
    if not node["Drivers"].get(request.driver, {}).get("Healthy", False):
        return "missing drivers"
    for left, operand, right in request.constraints:
        if not is_met(operand, resolve_target(node, left), resolve_target(node, right)):
            return f"{left} {operand} {right}"
    for name, is_read_only in request.host_volumes:
        if (volume := node["HostVolumes"].get(name)) is None or (volume["ReadOnly"] and not is_read_only):
            return "missing compatible host volumes"
    groups = node["NodeResources"]["Devices"] or ()
    for wanted in request.devices:
        # Nomad adds up the matching groups here, but serves from one of them below: hence two different reasons.
        well = [one for group in matching_groups(groups, wanted) for one in group["Instances"] if one["Healthy"]]
        if len(well) < wanted.count:
            return "missing devices"
    return None


def _draw_ports(node: Row, usage: Usage, request: Request, is_bindable: Callable[[int], bool]) -> dict[str, int] | str:
    drawn = dict(request.static_ports)
    if any(port in usage.ports for port in drawn.values()):
        return "network: reserved port collision"
    for label in request.dynamic_ports:
        taken = usage.ports | set(drawn.values()) if len(drawn) else usage.ports
        port = _draw_port(node["NodeResources"], taken, is_bindable)
        if port is None:
            return "network: dynamic port selection failed"
        drawn[label] = port
    return drawn


def _draw_port(totals: Row, taken: Iterable[int], is_bindable: Callable[[int], bool]) -> int | None:
    first, last = totals["MinDynamicPort"], totals["MaxDynamicPort"]
    held = taken if isinstance(taken, set) else set(taken)
    for _ in range(_PORT_DRAWS):
        port = random.randint(first, last)  # noqa: S311 - ports are no secret
        if port not in held and is_bindable(port):
            return port
    return next((port for port in range(first, last + 1) if port not in held and is_bindable(port)), None)


def _draw_devices(node: Row, usage: Usage, request: Request) -> dict[str, tuple[str, ...]] | None:
    drawn: dict[str, tuple[str, ...]] = {}
    taken = set(usage.devices)
    for wanted in request.devices:
        for group in matching_groups(node["NodeResources"]["Devices"] or (), wanted):
            free = [one["ID"] for one in group["Instances"] if one["Healthy"] and one["ID"] not in taken]
            if len(free) >= wanted.count:
                chosen = tuple(free[: wanted.count])
                drawn[group_id(group)] = (*drawn.get(group_id(group), ()), *chosen)
                taken |= set(chosen)
                break
        else:
            return None
    return drawn


def _device_ids(placement: Placement) -> set[str]:
    return {device for ids in placement.devices.values() for device in ids}
