"""How this agent differs from Nomad 2.0.5 and Consul 1.8.7: the one list, read by the suite and by people."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One known difference; `fields` of `recording` are not compared for it."""

    subject: str
    real: str
    embedded: str
    recording: str = ""
    fields: frozenset[str] = frozenset()


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "who answers",
        "/v1/agent/self and the nodes' Version name Nomad's or Consul's version",
        "rock-nomad-embedded stands there",
        recording="nodes",
        fields=frozenset({"Version"}),
    ),
    Difference(
        "node resources",
        "bridge and IPv6 networks, CPU in MHz unless told otherwise, the whole disk, the configuration's volumes",
        "loopback alone, 1000 per core, the disk that is free, and no volume but the rocklet's",
        recording="nodes",
        fields=frozenset({"NodeResources", "HostVolumes"}),
    ),
    Difference(
        "node attributes and events",
        "everything that fingerprinting finds, and the node's history",
        "what jobs are constrained by, and its registration",
        recording="node",
        fields=frozenset({"NodeResources", "HostVolumes", "Events"}),
    ),
    Difference("routes", "the whole API", "those the control plane sends; any other call or parameter is 501"),
    Difference("tokens", "ACL policies, or none", "one token for everything"),
    Difference("persistence", "jobs and keys outlive the agent", "nothing does"),
    Difference("nodes", "many, with pools, draining and eligibility", "one, in the pool `default`, always eligible"),
    Difference("jobs", "every type, many groups and tasks, updates in place", "batch, one group, one task; else 501"),
    Difference("restarts", "a task restarts as its policy says", "a task never restarts, whatever its policy"),
    Difference("rescheduling", "failed and lost allocations may be replaced", "never"),
    Difference("collection", "ended jobs are forgotten after a while", "only when purged"),
    Difference("evaluations of a full node", "a retried one changes its SnapshotIndex", "it stays as it was"),
    Difference("scores", "ScoreMetaData and AllocationTime are computed", "zero: one node leaves nothing to choose"),
    Difference("raw_exec and its agent", "tasks outlive their agent", "they end with it, however it ends"),
    Difference(
        "raw_exec environment", "the agent's own environment below the job's", "NOMAD_*, the job's, and a plain PATH"
    ),
    Difference(
        "raw_exec limits",
        "none of memory or processes",
        "cgroup limits of memory (MemoryMaxMB or MemoryMB) and processes where the kernel lets us",
    ),
    Difference("raw_exec oom", "oom_killed is always false", "true when the task's cgroup ran out of memory"),
    Difference("docker and its agent", "containers outlive their agent", "they are removed with it, however it ends"),
    Difference(
        "docker config", "every key; runtimes the client allows", "what sandboxes need; runtimes the engine has"
    ),
    Difference("docker accounts", "the client's auth config or helper", "the agent's user's own docker login"),
    Difference("docker labels", "com.hashicorp.nomad.alloc_id", "another: a real client ends what it does not know"),
    Difference("secrets", "a missing variable is waited for", "it fails the allocation"),
    Difference("secrets directory", "a tmpfs", "a plain directory"),
    Difference(
        "devices", "what plugins find; a change is known after 5 to 10 s", "simulated ones; a change is known at once"
    ),
    Difference("regular expressions", "RE2", "Python's"),
    Difference("mock_driver", "many more ways to fail", "run_for, exit_*, start_error, start_block_for, kill_after"),
    Difference("reports of the client", "sent every 200 ms", "100 ms after the first change"),
    Difference("service checks", "HTTP, TCP, gRPC, script, TTL", "HTTP"),
    Difference(
        "Consul's index of a name without instances", "that of some other change", "1, or that of its last change"
    ),
)


def fields_not_compared(recording: str) -> frozenset[str]:
    """The fields of a recording that are known to differ."""
    return frozenset().union(*(one.fields for one in DIFFERENCES if one.recording == recording))
