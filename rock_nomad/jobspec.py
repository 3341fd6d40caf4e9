"""The renderer: one spec, for one sandbox of one cluster, becomes one Nomad job.  Pure, and no string templating."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from rock.wire.errors import InvalidRequest
from rock.wire.spec import Isolation, SandboxSpec
from rock_nomad.base_job import load_base_job
from rock_nomad.bundle import BUNDLE_ENVIRONMENT, BUNDLE_MOUNT, bundle_command
from rock_nomad.config import ClusterProfile, ContainerProfile
from rock_nomad.isolation import CONTAINER_PORT, DOCKER_RUNTIMES_ATTRIBUTE, ISOLATIONS, IsolationProfile
from rock_nomad.names import job_id, service_name, variable_path

__all__ = [
    "STARTUP_SLACK",
    "gpu_pattern",
    "isolation_of",
    "job_warnings",
    "load_base_job",
    "max_run_seconds",
    "mebibytes",
    "needs_volume",
    "reads_credentials",
    "render_job",
    "spec_hash",
]

STARTUP_SLACK = 60.0
"""Seconds by which Nomad's clock runs behind the rocklet's, so that the rocklet's end is the one that is seen."""

_LOST_SLACK = 3600  # seconds by which a node may be gone longer than the sandbox can live
_NANOSECONDS = 10**9
_MHZ_PER_CPU = 1000  # the nodes are configured so that 1000 is one vCPU
_MAX_ENV_BYTES = 120_000  # the kernel takes 131,072 bytes in one variable, and this one is JSON
_BUNDLE = "rocklet"  # where in the task's own directory, "local", a bundle that was fetched is unpacked
_RESERVED_ENV = ("NVIDIA_", "ROCKLET_", "NOMAD_")


def spec_hash(raw_spec: bytes | Mapping[str, Any]) -> str:
    """The SHA-256 of a spec as it was sent: with no default filled in, so that an upgrade does not change it.

    The sandbox's id is left out, because it is what the hash is compared for, and the registry's password, because the
    hash can be read by whoever can read the job.
    """
    spec = msgspec.json.decode(raw_spec or b"{}") if isinstance(raw_spec, bytes) else raw_spec
    said = {key: value for key, value in spec.items() if key not in ("sandbox_id", "registry")}
    registry = spec.get("registry")
    if isinstance(registry, Mapping):
        said["registry"] = registry.get("username")
    return hashlib.sha256(json.dumps(_canonical(said), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _canonical(value: Any) -> Any:  # noqa: ANN401 - decoded JSON
    """The same value for every way of writing it: 2.0 is 2, and null is as good as nothing."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def isolation_of(spec: SandboxSpec, profile: ClusterProfile) -> Isolation:
    """The isolation that the spec names, or else the cluster's default."""
    return spec.isolation or profile.default_isolation


def needs_volume(kind: IsolationProfile, profile: ClusterProfile) -> bool:
    """Whether a node must have the host volume with the bundle."""
    return kind.brings_rocklet and profile.rocklet_archive is None


def job_warnings(spec: SandboxSpec, profile: ClusterProfile) -> list[str]:
    """What the spec asks for that is recorded and not done, in sentences."""
    isolation = isolation_of(spec, profile)
    return ISOLATIONS[isolation].warnings(spec, isolation)


def gpu_pattern(gpu_type: str) -> str:
    """A regular expression, alike for Go and Python, for the models that a `gpu_type` means.

    It means whole words: A10 is no A100.
    """
    return rf"(?i)(^|[^0-9a-z]){re.escape(gpu_type)}([^0-9a-z]|$)"


def reads_credentials(job: Mapping[str, Any]) -> bool:
    """Whether a job reads a registry's credentials from its Nomad variable."""
    return any(task.get("Secrets") for group in job["TaskGroups"] for task in group["Tasks"])


def mebibytes(size_bytes: int) -> int:
    """A size as Nomad counts it, never less than was asked for."""
    return -(-size_bytes // 2**20)


def max_run_seconds(spec: SandboxSpec) -> float:
    """How long Nomad lets the sandbox live: longer than its rocklet does."""
    return spec.startup_timeout + spec.max_lifetime + STARTUP_SLACK


def render_job(  # noqa: PLR0913 - each a fact of its own
    spec: SandboxSpec,
    *,
    sandbox_id: str,
    tenant: str,
    digest: str,
    token_sha256: str,
    secret_name: str,
    profile: ClusterProfile,
    base: Mapping[str, Any],
) -> dict[str, Any]:
    """The Nomad job of a sandbox, without the outer `Job`.

    `digest` is the request's `spec_hash`; `base` comes from `load_base_job`.

    Raises InvalidRequest: the spec asks for what this cluster does not offer.
    """
    isolation = isolation_of(spec, profile)
    _check(spec, profile, isolation)
    job = copy.deepcopy(dict(base))
    job.update(
        ID=job_id(sandbox_id),
        Name=job_id(sandbox_id),
        Namespace=profile.namespace,
        Datacenters=list(profile.datacenters),
        NodePool=spec.node_pool or profile.node_pool,
        Meta={
            **job.get("Meta", {}),
            "sandbox_id": sandbox_id,
            "tenant": tenant,
            "managed_by": profile.name,
            "isolation": isolation,
            "spec": _spec_text(spec),
            "spec_hash": digest,
            "startup_timeout": _plain(spec.startup_timeout),
        },
    )
    if profile.region is not None:
        job["Region"] = profile.region
    group, task = job["TaskGroups"][0], job["TaskGroups"][0]["Tasks"][0]
    _render_group(group, task, spec, profile)
    _render_task(task, spec, profile)
    if ISOLATIONS[isolation].uses_image:
        _render_container(task, spec, profile, sandbox_id=sandbox_id, tenant=tenant)
    task["Env"] = {**task.get("Env", {}), **profile.env, **_environment(spec, sandbox_id, token_sha256, isolation)}
    if ISOLATIONS[isolation].has_rocklet:
        _render_service(task["Services"][0], sandbox_id, tenant, secret_name, profile)
    else:
        del task["Services"]
    return job


# ---------------------------------------------------------------------------------------------------------- checks


def _check(spec: SandboxSpec, profile: ClusterProfile, isolation: Isolation) -> None:
    if isolation not in profile.isolations:
        raise _refused("isolation", isolation, f"one of {', '.join(profile.isolations)}")
    if spec.gpus and not ISOLATIONS[isolation].takes_gpus:
        raise _refused("gpus", spec.gpus, f"0 with the isolation {isolation}, which cannot be given devices")
    for field, most in (
        ("cpus", profile.max_cpus),
        ("memory_bytes", profile.max_memory_bytes),
        ("disk_bytes", profile.max_disk_bytes),
        ("gpus", profile.max_gpus),
        ("max_lifetime", profile.max_lifetime),
    ):
        asked = getattr(spec, field)
        if asked is not None and asked > most:
            raise _refused(field, asked, f"at most {_plain(most)}, this cluster's limit")
    if spec.limit_cpus is not None and spec.limit_cpus < spec.cpus:
        raise _refused("limit_cpus", spec.limit_cpus, f"at least cpus, which is {_plain(spec.cpus)}")
    if "${" in spec.image:
        raise _refused("image", spec.image, "an image name without ${")
    _check_gpus(spec)
    _check_env(spec)


def _check_gpus(spec: SandboxSpec) -> None:
    if spec.gpus:
        return
    for field in ("gpu_type", "gpu_memory_bytes"):
        if getattr(spec, field) is not None:
            raise _refused(field, getattr(spec, field), "left out, or gpus at least 1")


def _check_env(spec: SandboxSpec) -> None:
    for name in spec.env:
        if name.startswith(_RESERVED_ENV):
            raise _refused(f"env.{name}", name, f"a name that does not begin with {', '.join(_RESERVED_ENV)}")
    size = len(_interpolated_by_nobody(spec.env))
    if size > _MAX_ENV_BYTES:
        raise _refused("env", f"{size} bytes as JSON", f"at most {_MAX_ENV_BYTES} bytes as JSON; write a file instead")


def _refused(field: str, value: object, expected: str) -> InvalidRequest:
    shown = repr(value)[:80]
    return InvalidRequest(
        f"{field} is {shown}; it must be {expected}", details={"field": field, "value": shown, "expected": expected}
    )


# --------------------------------------------------------------------------------------------------------- rendering


def _render_group(group: dict[str, Any], task: dict[str, Any], spec: SandboxSpec, profile: ClusterProfile) -> None:
    kind = ISOLATIONS[isolation_of(spec, profile)]
    run_for = math.ceil(max_run_seconds(spec))
    group["MaxRunDuration"] = run_for * _NANOSECONDS
    group["Disconnect"]["LostAfter"] = (run_for + _LOST_SLACK) * _NANOSECONDS
    logs = task.get("LogConfig", {})
    logs_mb = logs.get("MaxFiles", 10) * logs.get("MaxFileSizeMB", 10)
    # Nomad refuses a job whose logs fill its disk.
    disk_mb = max(mebibytes(spec.disk_bytes or profile.default_disk_bytes), logs_mb + 1)
    group.setdefault("EphemeralDisk", {})["SizeMB"] = disk_mb
    if kind.maps_ports:
        group["Networks"][0]["DynamicPorts"][0]["To"] = CONTAINER_PORT
    if needs_volume(kind, profile):
        volume = {"Name": "rocklet", "Type": "host", "Source": profile.rocklet_volume, "ReadOnly": True}
        group.setdefault("Volumes", {})["rocklet"] = volume
        mount = {"Volume": "rocklet", "Destination": BUNDLE_MOUNT, "ReadOnly": True}
        task.setdefault("VolumeMounts", []).append(mount)
    elif kind.brings_rocklet and profile.rocklet_archive is not None:
        artifact = {
            "GetterSource": profile.rocklet_archive.url,
            "GetterOptions": {"checksum": f"sha256:{profile.rocklet_archive.sha256}"},
            "RelativeDest": f"local/{_BUNDLE}",
        }
        task.setdefault("Artifacts", []).append(artifact)


def _render_task(task: dict[str, Any], spec: SandboxSpec, profile: ClusterProfile) -> None:
    kind = ISOLATIONS[isolation_of(spec, profile)]
    task["Driver"] = kind.driver
    task["Config"] = {**copy.deepcopy(dict(kind.config)), **task.get("Config", {}), **_config(spec, profile, kind)}
    task["Resources"] = {"CPU": math.ceil(spec.cpus * _MHZ_PER_CPU), "MemoryMB": mebibytes(spec.memory_bytes)}
    if spec.gpus:
        task["Resources"]["Devices"] = [_device(spec, profile)]
    if kind.runtime is not None:
        constraint = {"LTarget": DOCKER_RUNTIMES_ATTRIBUTE, "Operand": "set_contains", "RTarget": kind.runtime}
        task.setdefault("Constraints", []).append(constraint)


def _config(spec: SandboxSpec, profile: ClusterProfile, kind: IsolationProfile) -> dict[str, Any]:
    """What the driver is told about this sandbox."""
    if not kind.has_rocklet:
        return {"run_for": f"{math.ceil(spec.max_lifetime)}s"}
    command = profile.rocklet_command
    if kind.brings_rocklet:
        command = bundle_command(BUNDLE_MOUNT if needs_volume(kind, profile) else f"${{NOMAD_TASK_DIR}}/{_BUNDLE}")
    host = profile.bind_host or ("0.0.0.0" if kind.maps_ports else "${NOMAD_IP_rocklet}")  # noqa: S104 - in a container
    arguments = ["--host", host, "--port", "${NOMAD_PORT_rocklet}"]
    if not kind.uses_image:
        return {"command": command[0], "args": [*command[1:], *arguments]}
    return {
        **_container_limits(spec, profile.container),
        "image": spec.image,
        "force_pull": spec.pull == "always",
        "entrypoint": list(command),
        "args": arguments,
        "cpu_hard_limit": kind.limits_cpu and spec.limit_cpus == spec.cpus,
    }


def _container_limits(spec: SandboxSpec, limits: ContainerProfile) -> dict[str, Any]:
    config: dict[str, Any] = {
        "image_pull_timeout": f"{math.ceil(limits.image_pull_timeout)}s",
        "pids_limit": limits.pids_limit,
        "cap_add": list(limits.capabilities),
        "security_opt": ["no-new-privileges"] if limits.no_new_privileges else [],
        "shm_size": spec.shm_bytes or limits.shm_bytes,
        "mount": [
            {"type": "tmpfs", "target": path, "tmpfs_options": [{"size": size}]} for path, size in limits.tmpfs.items()
        ],
    }
    if limits.ulimits:
        config["ulimit"] = [dict(limits.ulimits)]
    return config


def _render_container(
    task: dict[str, Any], spec: SandboxSpec, profile: ClusterProfile, *, sandbox_id: str, tenant: str
) -> None:
    # For whoever stands before a node and wonders whose a container is.
    facts = {"sandbox_id": sandbox_id, "tenant": tenant, "cluster": profile.name}
    task["Config"]["labels"] = [{f"com.rock-nomad.{name}": value for name, value in facts.items()}]
    if spec.gpus:
        # The driver takes its own runtime for a task with NVIDIA devices, and refuses one that names another.
        # Source: hashicorp/nomad drivers/docker/driver.go, "conflicting runtime requests".
        del task["Config"]["runtime"]
    if spec.registry is not None:
        task["Secrets"] = [{"Name": "registry", "Provider": "nomad", "Path": variable_path(sandbox_id)}]
        task["Config"]["auth"] = [{key: f"${{secret.registry.{key}}}" for key in ("username", "password")}]


def _device(spec: SandboxSpec, profile: ClusterProfile) -> dict[str, Any]:
    constraints = []
    if spec.gpu_type is not None:
        constraint = {"LTarget": "${device.model}", "Operand": "regexp", "RTarget": gpu_pattern(spec.gpu_type)}
        constraints.append(constraint)
    if spec.gpu_memory_bytes is not None:
        least = f"{mebibytes(spec.gpu_memory_bytes)} MiB"
        constraints.append({"LTarget": "${device.attr.memory}", "Operand": ">=", "RTarget": least})
    # One block with a count: two blocks in one task overwrite each other's environment.
    return {"Name": profile.gpu_device, "Count": spec.gpus, "Constraints": constraints}


def _environment(spec: SandboxSpec, sandbox_id: str, token_sha256: str, isolation: Isolation) -> dict[str, str]:
    """What the rocklet is told."""
    kind = ISOLATIONS[isolation]
    env = {
        "ROCKLET_SANDBOX_ID": sandbox_id,
        "ROCKLET_TOKEN_SHA256": token_sha256,
        "ROCKLET_IDLE_TIMEOUT": _plain(spec.idle_timeout),
        "ROCKLET_MAX_LIFETIME": _plain(spec.max_lifetime),
        "ROCKLET_ENV": _interpolated_by_nobody(spec.env),
        "ROCKLET_PORTS": json.dumps(spec.ports),
    }
    if kind.brings_rocklet:
        env.update(BUNDLE_ENVIRONMENT)
    if kind.maps_ports:
        env["ROCKLET_OWNS_NETWORK"] = "1"
    if spec.lease is not None:
        env["ROCKLET_LEASE"] = _plain(spec.lease)
    if not kind.uses_image:
        env["ROCKLET_HOME"] = "${NOMAD_TASK_DIR}"
        if not spec.gpus:
            # The node's cards can be seen from here, and whoever takes what is there would take another sandbox's.
            env["CUDA_VISIBLE_DEVICES"] = ""
    elif not spec.gpus:
        # CUDA images say "all", and a node whose default runtime is NVIDIA's would obey.
        env["NVIDIA_VISIBLE_DEVICES"] = "void"
    return env


def _render_service(
    service: dict[str, Any], sandbox_id: str, tenant: str, secret_name: str, profile: ClusterProfile
) -> None:
    service["Name"] = service_name(sandbox_id)
    # All that the read path wants to know, so that it never has to ask Nomad.
    service["Meta"] = {
        **service.get("Meta", {}),
        "sandbox_id": sandbox_id,
        "tenant": tenant,
        "managed_by": profile.name,
        "secret": secret_name,
        "alloc_id": "${NOMAD_ALLOC_ID}",
    }


def _spec_text(spec: SandboxSpec) -> str:
    """The spec as a job remembers it: without credentials, and without the environment, which stands in the task."""
    # Every listing carries it, so it is compact; defaults are written out, because a later version has others.
    kept = {name: getattr(spec, name) for name in spec.__struct_fields__ if name not in ("registry", "env")}
    return _interpolated_by_nobody({name: value for name, value in kept.items() if value is not None})


def _plain(number: float) -> str:
    """A number without an exponent or a needless fraction."""
    return str(int(number)) if float(number).is_integer() else repr(number)


def _interpolated_by_nobody(value: Mapping[str, Any]) -> str:
    r"""JSON in which Nomad finds nothing of the user's to interpolate: `$` is written `\u0024`."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("$", r"\u0024")
