"""What the nodes must have, judged.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rock_nomad.config import ClusterProfile
from rock_nomad.doctor.facts import Facts, NodeFacts, Unread
from rock_nomad.doctor.findings import Finding, ok, some, unfit, warning
from rock_nomad.gpus import GpuGroup, SickGpu, gpu_groups
from rock_nomad.isolation import DOCKER_RUNTIMES_ATTRIBUTE, ISOLATIONS, IsolationProfile
from rock_nomad.jobspec import STARTUP_SLACK, needs_volume
from rock_nomad.records import Row, integer, mapping, text, texts

__all__ = [
    "LEAST_CONSUL",
    "LEAST_NOMAD",
    "check_clocks",
    "check_consul_on_nodes",
    "check_cpu_units",
    "check_docker",
    "check_gpus",
    "check_isolations",
    "check_node_agents",
    "check_nodes",
    "isolations_by_node",
    "version_of",
]

LEAST_NOMAD = (2, 0, 3)
"""Source: max_run_duration came with Nomad 2.0.3 (structs.go, validation of batch jobs)."""
LEAST_CONSUL = (1, 8)
"""Source: Nomad's own constraint on jobs with services (job_endpoint_hooks.go)."""

CLOCK_TOLERANCE = 3.0  # seconds; what is read is true to about one
LEAST_GC_MAX_ALLOCS = 200

_RUNTIMES = DOCKER_RUNTIMES_ATTRIBUTE.removeprefix("${attr.").removesuffix("}")


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


# -------------------------------------------------------------------------------------------------------- isolations


def isolations_by_node(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    """For each isolation and each ready node what the node lacks for it; an empty text: nothing."""
    return {
        name: {node.name: _lack(node, kind, facts.profile) for node in facts.ready_nodes}
        for name, kind in ISOLATIONS.items()
    }


def _lack(node: NodeFacts, kind: IsolationProfile, profile: ClusterProfile) -> str:
    driver = node.drivers.get(kind.driver)
    if driver is None:
        return f"no healthy driver {kind.driver}"
    if kind.runtime is not None and kind.runtime not in text(driver.get(_RUNTIMES)).split(","):
        return f"no runtime {kind.runtime}"
    if kind.driver == "docker" and (refused := _refused_by_docker(node, kind, profile)):
        return refused
    if needs_volume(kind, profile) and profile.rocklet_volume not in node.volumes:
        return f"no host volume {profile.rocklet_volume}"
    return ""


def _refused_by_docker(node: NodeFacts, kind: IsolationProfile, profile: ClusterProfile) -> str:
    """What the driver would refuse when the task starts: after Nomad has placed it, which knows nothing of that."""
    config = node.docker_config
    if config is None:
        return ""
    if kind.runtime not in texts(config.get("allow_runtimes")):
        return f"no allow_runtimes for {kind.runtime}"
    allowed = {cap.lower() for cap in texts(config.get("allow_caps"))}
    denied = [cap for cap in profile.container.capabilities if allowed.isdisjoint({cap.lower(), "all"})]
    return f"no allow_caps for {', '.join(denied)}" if denied else ""


_REMEDIES: Mapping[str, str] = {
    "driver": "enable it in the client's configuration (client.hcl), and see nomad node status -verbose",
    "runtime": "install it, name it in the Docker engine's daemon.json and in allow_runtimes (client.hcl)",
    "allow_runtimes": 'plugin "docker" { config { allow_runtimes = [...] } }; without it tasks fail as they start',
    "allow_caps": 'plugin "docker" { config { allow_caps = [...] } }, or fewer capabilities in the profile',
    "host": 'rock-nomad bundle build, then client { host_volume "rocklet" { ... } } (client.hcl)',
}
"""What to do about a lack, by its kind: the word before what is lacking."""


def check_isolations(facts: Facts) -> Iterator[Finding]:
    """That every isolation which the profile offers has nodes."""
    if not facts.ready_nodes:
        return
    by_node = isolations_by_node(facts)
    for isolation in dict.fromkeys((facts.profile.default_isolation, *facts.profile.isolations)):
        lacks = by_node[isolation]
        able, subject = [name for name, lack in lacks.items() if not lack], f"isolation {isolation}"
        counts = Counter(lack for lack in lacks.values() if lack)
        said = "; ".join(f"{count} with {lack}" for lack, count in counts.most_common())
        if not counts:
            yield ok(subject, f"{len(able)} of {len(lacks)} nodes")
            continue
        kinds = {lack.removeprefix("no ").removeprefix("healthy ").partition(" ")[0] for lack in counts}
        remedy = "; ".join(_REMEDIES[kind] for kind in _REMEDIES if kind in kinds)
        judge = warning if able else unfit
        yield judge(subject, f"{len(able)} of {len(lacks)} nodes: {said}", remedy)


def check_docker(facts: Facts) -> Iterator[Finding]:
    """That a job cannot leave its container by what the driver allows, and that images stay."""
    for attribute, what in (("volumes", "mount any path of the node"), ("privileged", "run privileged containers")):
        open_ = [node.name for node in facts.ready_nodes if _is_on(node, f"driver.docker.{attribute}.enabled")]
        if open_:
            remedy = f'plugin "docker" {{ config {{ {_OFF[attribute]} }} }} (client.hcl): sandboxes need neither'
            yield warning("docker", f"on {some(open_)} every job may {what}", remedy)
    forgetful = [node.name for node in facts.ready_nodes if "docker" in node.drivers and _drops_images(node)]
    if forgetful and any(ISOLATIONS[each].driver == "docker" for each in facts.profile.isolations):
        said = f"{some(forgetful)} drop an image soon after its last sandbox, and the next one waits for it again"
        yield warning("docker", said, 'plugin "docker" { config { gc { image = false } } } (client.hcl)')


def _drops_images(node: NodeFacts) -> bool:
    config = node.docker_config
    return config is not None and mapping(config.get("gc")).get("image") is not False


_OFF: Mapping[str, str] = {"volumes": "volumes { enabled = false }", "privileged": "allow_privileged = false"}


def _is_on(node: NodeFacts, attribute: str) -> bool:
    return text(node.drivers.get("docker", {}).get(attribute)) in ("true", "1")


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
