"""What a task's driver config comes to as a container, in the words of Docker's Engine API.  Pure.

Source: hashicorp/nomad drivers/docker/driver.go createContainerConfig, config.go; docs.docker.com/engine/api/v1.41.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rock_nomad.embedded.drivers.driver import StartRefused, TaskSpec
from rock_nomad.embedded.rows import Row

AGENT_LABEL = "com.rock-nomad.agent"
# Not Nomad's own label: a real client on the same engine ends what carries that and is unknown to it.
ALLOCATION_LABEL = "com.rock-nomad.alloc_id"

_MIB = 1024 * 1024
_CPU_PERIOD = 100_000  # microseconds; Nomad's default
_LOGS = {"Type": "json-file", "Config": {"max-file": "2", "max-size": "2m"}}  # Docker's own copy, as Nomad bounds it
_KNOWN = frozenset({
    "args", "auth", "cap_add", "cap_drop", "command", "cpu_hard_limit", "entrypoint", "force_pull", "healthchecks",
    "hostname", "image", "image_pull_timeout", "init", "labels", "mount", "pids_limit", "ports", "readonly_rootfs",
    "runtime", "security_opt", "shm_size", "ulimit", "work_dir",
})  # fmt: skip


def container_config(spec: TaskSpec, agent: str) -> Row:
    """The body of `POST /containers/create`; `agent` is the label by which its agent's containers are found.

    Raises StartRefused: the config says what it must not, or what this driver does not know.
    """
    config = spec.config
    if unknown := sorted(config.keys() - _KNOWN):
        raise StartRefused(f"this docker driver knows no {', '.join(unknown)}; it knows {', '.join(sorted(_KNOWN))}")
    ports = _ports(spec)
    command = [config["command"]] if config.get("command") else []
    row: Row = {
        "Image": config["image"],
        "Entrypoint": config.get("entrypoint"),
        "Cmd": [*command, *map(str, config.get("args") or ())] or None,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Hostname": config.get("hostname", ""),
        "User": spec.user,
        "WorkingDir": config.get("work_dir", ""),
        "Labels": {**_merged(config.get("labels")), ALLOCATION_LABEL: spec.allocation_id, AGENT_LABEL: agent},
        "ExposedPorts": {port: {} for port in ports},
        "HostConfig": _host_config(spec, ports),
    }
    if any(one.get("disable") for one in _blocks(config.get("healthchecks"))):
        row["Healthcheck"] = {"Test": ["NONE"]}
    return row


def _host_config(spec: TaskSpec, ports: Row) -> Row:
    config, directories = spec.config, spec.directories
    quota = spec.cpu * _CPU_PERIOD // 1000 if config.get("cpu_hard_limit") else 0
    return {
        "Binds": [
            f"{directories.shared}:/alloc",
            f"{directories.local}:/local",
            f"{directories.secrets}:/secrets",
            f"{directories.logs}:/alloc/logs:ro",
        ],
        "Mounts": [*_host_mounts(spec), *map(_tmpfs, _blocks(config.get("mount")))],
        "PortBindings": ports,
        "NetworkMode": "default",
        "Memory": spec.memory_mb * _MIB,
        "MemorySwap": spec.memory_mb * _MIB,  # the same: no swap
        "CpuShares": max(2, spec.cpu),
        "CpuPeriod": _CPU_PERIOD if quota else 0,
        "CpuQuota": quota,
        "PidsLimit": config.get("pids_limit") or -1,
        "CapAdd": config.get("cap_add"),
        "CapDrop": config.get("cap_drop"),
        "SecurityOpt": config.get("security_opt"),
        "ReadonlyRootfs": bool(config.get("readonly_rootfs")),
        "Runtime": config.get("runtime", ""),
        "Init": bool(config.get("init")),
        "ShmSize": config.get("shm_size", 0),
        "Ulimits": [_ulimit(name, limit) for name, limit in _merged(config.get("ulimit")).items()],
        "LogConfig": _LOGS,
    }


def _ports(spec: TaskSpec) -> Row:
    """The bindings of the ports that the config names, for TCP and UDP alike."""
    bindings: Row = {}
    for label in spec.config.get("ports") or ():
        if label not in spec.ports:
            raise StartRefused(f'Port "{label}" not found, check network block')
        port = spec.ports[label]
        at = [{"HostIp": "127.0.0.1", "HostPort": str(port.host)}]
        bindings |= {f"{port.inside}/tcp": at, f"{port.inside}/udp": at}
    return bindings


def _host_mounts(spec: TaskSpec) -> Iterable[Row]:
    for mount in spec.mounts:
        yield {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.is_read_only}


def _tmpfs(block: Row) -> Row:
    if block.get("type") != "tmpfs":
        raise StartRefused(f'volumes are not enabled; cannot mount volume: "{block.get("source", "")}"')
    options = _merged(block.get("tmpfs_options"))
    sizes: Mapping[str, tuple[str, Callable[[Any], int]]] = {"size": ("SizeBytes", int), "mode": ("Mode", int)}
    told = {name: read(options[key]) for key, (name, read) in sizes.items() if key in options}
    return {"Type": "tmpfs", "Target": block["target"], "TmpfsOptions": told}


def _ulimit(name: str, limit: str) -> Row:
    soft, _, hard = str(limit).partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise StartRefused(f"failed to parse ulimit configuration: Malformed ulimit {name}: {limit}") from None


def _blocks(given: Row | list[Row] | None) -> list[Row]:
    """A block of HCL, which JSON writes as an object or as a list of them."""
    return [given] if isinstance(given, dict) else given or []


def _merged(given: Row | list[Row] | None) -> Row:
    return {key: value for block in _blocks(given) for key, value in block.items()}


def credentials(config: Row) -> dict[str, str]:
    """The registry's account that a config names, or nothing."""
    auth = _merged(config.get("auth"))
    return {key: str(auth[key]) for key in ("username", "password") if auth.get(key)}
