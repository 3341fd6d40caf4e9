"""What the nodes must have, judged.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rock_nomad.doctor.facts import Facts, NodeFacts, Unread
from rock_nomad.doctor.findings import Finding, ok, some, unfit, warning
from rock_nomad.gpus import GpuGroup, SickGpu, gpu_groups
from rock_nomad.jobspec import STARTUP_SLACK
from rock_nomad.records import Row, integer, mapping, text

__all__ = [
    "LEAST_CONSUL",
    "LEAST_NOMAD",
    "check_clocks",
    "check_consul_on_nodes",
    "check_cpu_units",
    "check_gpus",
    "check_node_agents",
    "check_nodes",
    "version_of",
]

LEAST_NOMAD = (2, 0, 3)
"""Source: max_run_duration came with Nomad 2.0.3 (structs.go, validation of batch jobs)."""
LEAST_CONSUL = (1, 8)
"""Source: Nomad's own constraint on jobs with services (job_endpoint_hooks.go)."""

CLOCK_TOLERANCE = 5.0  # seconds; what is read is true to one, and on a busy node to a few
LEAST_GC_MAX_ALLOCS = 200


def version_of(said: str) -> tuple[int, ...]:
    """The numbers of a version, to be compared; of `2.0.3-beta.1` those before the hyphen."""
    numbers = said.partition("-")[0].partition("+")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdecimal())


def check_nodes(facts: Facts) -> Iterator[Finding]:
    """That there are nodes to place sandboxes on, all of a version that keeps its promises."""
    if isinstance(facts.nodes, Unread):
        if facts.nodes.is_denied:
            yield warning("nodes", "which there are is not for this token to see", "grant it node read")
        return
    pool, ready = facts.profile.node_pool, facts.ready_nodes
    said = f"{len(ready)} of {len(facts.nodes)} in the pool {pool!r} take sandboxes"
    away = [f"{node.name} is {_why_away(node)}" for node in facts.nodes if not node.is_ready]
    if not ready:
        judge = warning if pool in facts.profile.elastic_pools else unfit
        remedy = f'start Nomad clients with client {{ node_pool = "{pool}" }} (client.hcl), or end the drain'
        yield judge("nodes", "; ".join((said, *away[:3])), remedy)
    elif away:
        remedy = "nomad node status; nomad node eligibility -enable, where that is meant"
        yield warning("nodes", f"{said}; {some(away)}", remedy)
    else:
        yield ok("nodes", f"{said}: {some([node.name for node in ready])}")
    if not facts.is_embedded:
        yield from _old_nodes(ready)


def _why_away(node: NodeFacts) -> str:
    status = text(node.row.get("Status"))
    if status != "ready":
        return status
    return "draining" if node.row.get("Drain") else "ineligible"


def _old_nodes(nodes: Sequence[NodeFacts]) -> Iterator[Finding]:
    versions = {node.name: text(node.row.get("Version")) for node in nodes}
    old = [f"{name} ({said})" for name, said in versions.items() if version_of(said) < LEAST_NOMAD]
    if old:
        yield unfit("nodes", f"too old to limit a sandbox's time: {some(old)}", "update to Nomad 2.0.3 or later")


# ----------------------------------------------------------------------------------------------------------- devices


def check_gpus(facts: Facts) -> Iterator[Finding]:
    """Which GPUs there are, and which of them are sick."""
    groups = [group for node in facts.ready_nodes for group in gpu_groups(node.row, facts.profile.gpu_device)]
    counts = Counter({group.model: 0 for group in groups})
    for group in groups:
        counts[group.model] += group.count
    sick = [_sickness(group, each) for group in groups for each in group.sick]
    if not facts.ready_nodes:
        return
    if not counts:
        yield ok("GPUs", f"no node has {facts.profile.gpu_device}")
        return
    said = ", ".join(f"{count} x {model}" for model, count in sorted(counts.items()))
    if sick:
        remedy = "look at the node (nvidia-smi, dmesg); Nomad gives a sick one to nobody until it is well"
        yield warning("GPUs", f"{said}; sick: {some(sick)}", remedy)
    else:
        yield ok("GPUs", f"{said}, all well")


def _sickness(group: GpuGroup, gpu: SickGpu) -> str:
    said = f"{gpu.id} ({group.model}) on {group.node_name}"
    return f"{said}: {gpu.ailment}" if gpu.ailment else said


# ---------------------------------------------------------------------------------------------------------- settings


def check_cpu_units(facts: Facts) -> Iterator[Finding]:
    """That 1000 of Nomad's CPU is one vCPU, whatever the machine's clock rate."""
    odd = [
        f"{node.name} ({_cpu(node, 'CpuShares')} for {_cpu(node, 'TotalCpuCores')} cores)"
        for node in facts.ready_nodes
        if _cpu(node, "CpuShares") != 1000 * _cpu(node, "TotalCpuCores")
    ]
    if odd:
        remedy = "client { cpu_total_compute = 1000 x its cores } (client.hcl), and restart the client"
        yield warning("cpu units", f"1000 is not one vCPU on {some(odd)}: `cpus` means something else there", remedy)
    elif facts.ready_nodes:
        yield ok("cpu units", "1000 is one vCPU on every node")


def _cpu(node: NodeFacts, amount: str) -> int:
    return integer(mapping(mapping(node.row.get("NodeResources")).get("Cpu")).get(amount))


def check_consul_on_nodes(facts: Facts) -> Iterator[Finding]:
    """That every node has a Consul agent: without one its rocklets are never found."""
    seen = {node.name: node.attributes for node in facts.ready_nodes if not isinstance(node.attributes, Unread)}
    said = {name: text(attributes.get("consul.version")) for name, attributes in seen.items()}
    without = [name for name, version in said.items() if not version]
    old = [f"{name} ({version})" for name, version in said.items() if version and version_of(version) < LEAST_CONSUL]
    if without or old:
        remedy = "run a Consul agent of 1.8 or later beside each Nomad client, and name it in consul { address, token }"
        what = [*(f"{name} (none)" for name in without), *old]
        judge = unfit if len(what) == len(seen) else warning
        yield judge("consul on nodes", f"no sandbox can be found on {some(what)}", remedy)
    elif seen:
        yield ok("consul on nodes", "every node registers its services")


def check_clocks(facts: Facts) -> Iterator[Finding]:
    """That servers, nodes and this machine agree what time it is."""
    if facts.is_embedded or isinstance(facts.nomad, Unread):
        return
    offsets = {"the Nomad server": facts.nomad_clock_offset}
    offsets |= {n.name: n.clock_offset for n in facts.ready_nodes if not isinstance(n.clock_offset, Unread)}
    worst = max(abs(offset) for offset in offsets.values())
    wrong = [f"{who} by {offset:+.0f} s" for who, offset in offsets.items() if abs(offset) > CLOCK_TOLERANCE]
    if not wrong:
        yield ok("clocks", f"servers and nodes agree with this machine to {worst:.0f} s")
        return
    # Beyond the slack Nomad ends a sandbox before its rocklet would, and says less of why.
    judge = unfit if worst > STARTUP_SLACK else warning
    yield judge("clocks", f"they differ from this machine's: {some(wrong)}", "run NTP (chrony) on all of them")


def check_node_agents(facts: Facts) -> Iterator[Finding]:
    """What the clients keep of sandboxes that have ended."""
    if facts.is_embedded or not facts.ready_nodes:
        return
    agents = {node.name: node.agent for node in facts.ready_nodes if not isinstance(node.agent, Unread)}
    silent = [node.name for node in facts.ready_nodes if isinstance(node.agent, Unread)]
    few = [name for name, config in agents.items() if _kept(config) < LEAST_GC_MAX_ALLOCS]
    if few:
        said = f"{some(few)} forget ended sandboxes, their logs too, above gc_max_allocs (50 unless set)"
        yield warning("node agents", said, "client { gc_max_allocs = 500 } (client.hcl)")
    if silent:
        said = f"{some(silent)} cannot be asked from here for gc_max_allocs"
        yield warning("node agents", said, "open the clients' HTTP port to this machine, or look at their client.hcl")
    elif not few:
        yield ok("node agents", f"they keep {LEAST_GC_MAX_ALLOCS} or more ended sandboxes each")


def _kept(config: Row) -> int:
    return integer(mapping(config.get("Client")).get("GCMaxAllocs"))
