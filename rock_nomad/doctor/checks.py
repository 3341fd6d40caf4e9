"""Every check, in the order in which people read them.  Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from rock_nomad import consul, nomad
from rock_nomad.doctor import node_checks as nodes
from rock_nomad.doctor.facts import Facts, FileFacts, Unread
from rock_nomad.doctor.findings import Finding, ok, some, unasked, unfit, warning
from rock_nomad.doctor.isolation_checks import check_docker, check_isolations
from rock_nomad.records import EMBEDDED, Row, agent_version, integer, mapping, text

__all__ = ["examine"]

LEAST_EVENTS = 1000
"""Changes that a server remembers for a gateway whose event stream was cut."""

LEAST_MINUTES_OF_ENDED = 10
_DEFAULT_JOB_GC = "4h"  # Nomad tells only what is set; source: nomad/config.go


def examine(facts: Facts) -> list[Finding]:
    """All there is to say of a cluster."""
    return [finding for check in _CHECKS for finding in check(facts)]


def check_nomad(facts: Facts) -> Iterator[Finding]:
    """That Nomad answers, in a version that limits a sandbox's time."""
    agent, url = facts.nomad, facts.config.nomad.url
    if isinstance(agent, Unread) and not agent.is_denied:
        yield unasked("nomad", agent.why, "start it, or name another agent with --nomad; for TLS: ca_file")
        return
    version = "" if isinstance(agent, Unread) else agent_version(agent)
    if version == EMBEDDED:
        yield ok("nomad", f"{EMBEDDED} at {url}: one machine, of which nothing is claimed of Nomad")
    elif not version:
        yield warning("nomad", f"it answers at {url}; its version is not for this token", "grant it agent read")
    elif nodes.version_of(version) < nodes.LEAST_NOMAD:
        yield unfit("nomad", f"{version} at {url} does not limit a batch job's time", "update to 2.0.3 or later")
    else:
        yield ok("nomad", f"{version} at {url}")


def check_consul(facts: Facts) -> Iterator[Finding]:
    """That Consul answers, in a version that Nomad registers services with."""
    agent, url = facts.consul, facts.config.consul.url
    if isinstance(agent, Unread) and not agent.is_denied:
        yield unasked("consul", agent.why, "start it, or name another agent with --consul; for TLS: ca_file")
        return
    version = "" if isinstance(agent, Unread) else agent_version(agent.get("Config"))
    if version == EMBEDDED:
        yield ok("consul", f"{EMBEDDED} at {url}")
    elif not version:
        yield warning("consul", f"it answers at {url}; its version is not for this token", "grant it agent read")
    elif nodes.version_of(version) < nodes.LEAST_CONSUL:
        yield unfit("consul", f"{version} at {url}: Nomad registers no services with it", "update to 1.8 or later")
    else:
        yield ok("consul", f"{version} at {url}")


# ------------------------------------------------------------------------------------------------------------ rights


def check_nomad_rights(facts: Facts) -> Iterator[Finding]:
    """That the gateway may do on Nomad what it has to, and that others may not."""
    rights = facts.nomad_rights
    if isinstance(rights, Unread):
        return
    if rights.missing:
        yield unfit(
            "nomad rights",
            f"the token may not: {', '.join(rights.missing)}",
            "nomad acl policy apply rock-gateway acl-nomad.hcl (below), and a token with it",
        )
    else:
        yield ok("nomad rights", "the token may do all that the gateway does")
    if rights.complaint:
        profile = facts.profile
        remedy = "create it (nomad namespace apply, nomad node pool apply), or name another in the profile"
        yield unfit(f"namespace {profile.namespace}, pool {profile.node_pool}", rights.complaint, remedy)
    if not facts.is_embedded and not isinstance(facts.nomad, Unread) and not _flag(facts.nomad, "ACL", "Enabled"):
        said = "Nomad's ACLs are off: whoever reaches its port, sandboxes included, may run anything on any node"
        yield warning("nomad rights", said, "acl { enabled = true } (server.hcl, client.hcl), nomad acl bootstrap")


def check_consul_rights(facts: Facts) -> Iterator[Finding]:
    """That the gateway may see rocklets in Consul; where it may not, Consul says that there are none."""
    rights = facts.consul_rights
    if isinstance(rights, Unread):
        if rights.is_denied:
            yield unfit("consul rights", rights.why, "give the gateway a token that Consul knows")
        return
    if rights.missing:
        yield unfit(
            "consul rights",
            f"the token may not: {', '.join(rights.missing)}; Consul shows it empty lists, as if no sandbox were there",
            "consul acl policy create -name rock-gateway -rules @acl-consul.hcl (below), and a token with it",
        )
    else:
        yield ok("consul rights", "the token sees every rocklet")
    debug = _debug(facts.consul)
    if debug and not debug.get("ACLsEnabled"):
        said = "Consul's ACLs are off: whoever reaches its port can pose as a sandbox"
        yield warning("consul rights", said, 'acl { enabled = true, default_policy = "deny" } in Consul')


# ---------------------------------------------------------------------------------------------------------- settings


def check_connections(facts: Facts) -> Iterator[Finding]:
    """That the agents grant a gateway as many connections as it opens."""
    limits = {
        "nomad": (_limit(facts.nomad), nomad.WRITE_CONNECTIONS + nomad.READ_CONNECTIONS),
        "consul": (integer(_debug(facts.consul).get("HTTPMaxConnsPerClient")), consul.CONNECTIONS),
    }
    known = {name: pair for name, pair in limits.items() if pair[0]}  # 0: unlimited, or not told
    said = ", ".join(f"{name} {granted} (a gateway opens {opened})" for name, (granted, opened) in known.items())
    if any(granted < opened for granted, opened in known.values()):
        remedy = "limits { http_max_conns_per_client = 200 } in that agent's configuration"
        yield unfit("connections", f"too few are granted to one address: {said}", remedy)
    elif known:
        yield ok("connections", f"granted to one address: {said}")


def _limit(agent: Row | Unread) -> int:
    return 0 if isinstance(agent, Unread) else integer(mapping(agent.get("Limits")).get("HTTPMaxConnsPerClient"))


def check_server(facts: Facts) -> Iterator[Finding]:
    """How long a server remembers: events for a cut stream, and sandboxes that have ended."""
    if isinstance(facts.nomad, Unread):
        return
    if facts.is_embedded:
        yield ok("server settings", "embedded: not applicable")
        return
    server = mapping(facts.nomad.get("Server"))
    if not server.get("Enabled"):
        yield warning("server settings", "the agent asked is no server", "run the doctor with --nomad of a server, too")
        return
    if not server.get("EnableEventBroker"):
        said = "the event stream is off: nobody is told that a waiting sandbox has started"
        yield unfit("server settings", said, "server { enable_event_broker = true } (server.hcl)")
    size = integer(server.get("EventBufferSize"))
    if size < LEAST_EVENTS:
        said = f"event_buffer_size is {size}: a gateway whose stream is cut under load reads everything anew"
        yield warning("server settings", said, "server { event_buffer_size = 10000 } (server.hcl)")
    yield _collection(text(server.get("JobGCThreshold")) or _DEFAULT_JOB_GC)


def _collection(kept: str) -> Finding:
    """What the time for which servers keep an ended job comes to; `kept` is such as `15m`."""
    said = f"an ended sandbox can be asked about for {kept} (job_gc_threshold)"
    if _minutes(kept) < LEAST_MINUTES_OF_ENDED:
        remedy = 'server { job_gc_threshold = "15m" } (server.hcl)'
        return warning("server settings", f"{said}; then nobody knows why it ended", remedy)
    return ok("server settings", said)


_UNITS: Mapping[str, float] = {"s": 1 / 60, "m": 1, "h": 60}


def _minutes(duration: str) -> float:
    """A duration of Go's, such as `1h30m`, in minutes; what cannot be read is long."""
    total, number = 0.0, ""
    for sign in duration:
        if sign.isdigit() or sign == ".":
            number += sign
        elif sign in _UNITS and number:
            total, number = total + float(number) * _UNITS[sign], ""
        else:
            return float("inf")
    return total


def check_scheduler(facts: Facts) -> Iterator[Finding]:
    """What the scheduler may do to sandboxes."""
    scheduler = facts.scheduler
    if facts.is_embedded:
        return
    if isinstance(scheduler, Unread):
        if scheduler.is_denied:
            remedy = "to see them run the doctor with an operator's NOMAD_TOKEN; the gateway needs no such right"
            yield warning("scheduler", "preemption and memory oversubscription are not for this token to see", remedy)
        return
    if scheduler.get("PauseEvalBroker") or scheduler.get("RejectJobRegistration"):
        said = "it places nothing: the broker is paused, or registration is refused"
        flags = "-pause-eval-broker=false -reject-job-registration=false"
        yield unfit("scheduler", said, f"nomad operator scheduler set-config {flags}")
    if _flag(scheduler, "PreemptionConfig", "BatchSchedulerEnabled"):
        said = "batch jobs preempt: a job of higher priority ends sandboxes, which then say `preempted`"
        remedy = "nomad operator scheduler set-config -preempt-batch-scheduler=false, if that is not meant"
        yield warning("scheduler", said, remedy)
    memory = "may be oversubscribed" if scheduler.get("MemoryOversubscriptionEnabled") else "is reserved in full"
    yield ok("scheduler", f"{text(scheduler.get('SchedulerAlgorithm'))}; memory {memory}")


# ------------------------------------------------------------------------------------------------------------- files


def check_files(facts: Facts) -> Iterator[Finding]:
    """That the gateway's files are good, and its secrets nobody else's."""
    bad = [file for file in facts.files if file.complaint]
    for file in bad:
        yield unfit("files", file.complaint, f"mend {file.path.name}: the gateway does not start with it")
    shared = [file for file in facts.files if _is_shared(file)]
    if shared:
        names = some([file.path.name for file in shared])
        yield warning("files", f"others on this machine can read or change {names}", f"chmod 600 {shared[0].path} ...")
    if facts.files and not bad and not shared:
        yield ok("files", f"{some([file.path.name for file in facts.files])}: good, and for their owner alone")


def _is_shared(file: FileFacts) -> bool:
    """Whether others can read a secret, or change what is none."""
    return file.mode is not None and bool(file.mode & (0o077 if file.is_secret else 0o022))


def _flag(config: Row, block: str, name: str) -> bool:
    return mapping(config.get(block)).get(name) is True


def _debug(agent: Row | Unread) -> Row:
    return {} if isinstance(agent, Unread) else mapping(agent.get("DebugConfig"))


_CHECKS: tuple[Callable[[Facts], Iterable[Finding]], ...] = (
    check_nomad,
    check_nomad_rights,
    check_consul,
    check_consul_rights,
    nodes.check_nodes,
    check_isolations,
    check_docker,
    nodes.check_gpus,
    nodes.check_cpu_units,
    nodes.check_consul_on_nodes,
    nodes.check_clocks,
    nodes.check_node_agents,
    check_server,
    check_scheduler,
    check_connections,
    check_files,
)
