"""`SandboxSpec`: what a sandbox is asked to be.  It is what a user writes, and all that the renderer reads."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "DEFAULT_IDLE_TIMEOUT",
    "DEFAULT_MAX_LIFETIME",
    "DEFAULT_STARTUP_TIMEOUT",
    "ID_PATTERN",
    "EnvName",
    "EnvValue",
    "Isolation",
    "Registry",
    "SandboxId",
    "SandboxSpec",
    "Seconds",
    "Text",
]

ID_PATTERN = r"^(?!.*--)[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?(\.(0|[1-9][0-9]{0,2}))?\Z"
"""Sandbox ids: 1 to 48 of a-z, 0-9 and single inner dashes; `.n` names member n of a group."""

DEFAULT_STARTUP_TIMEOUT = 180.0  # seconds; ROCK's SDK default
DEFAULT_IDLE_TIMEOUT = 300.0  # seconds; ROCK's auto_clear_seconds
DEFAULT_MAX_LIFETIME = 86_400.0  # seconds; a day

_SPEC_ID = r"^(?!.*--)[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?\Z"

SandboxId = Annotated[
    str, Meta(pattern=_SPEC_ID, description="1 to 48 of a-z, 0-9 and single dashes inside, such as swe-run-7")
]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000, description="seconds, more than 0 and at most a year")]
Text = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]*\Z", description="text without NUL")]
EnvName = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=256, description="a name of letters, digits and underscores"),
]
EnvValue = Annotated[str, Meta(max_length=131_072, pattern=r"^[^\x00]*\Z", description="text without NUL")]
_Port = Annotated[int, Meta(ge=1, le=65535, description="a port number, 1 to 65535")]
_LABEL_NAME = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z"
_LabelName = Annotated[str, Meta(pattern=_LABEL_NAME, description="1 to 63 of letters, digits, _ . -")]
_LabelValue = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f]*\Z", description="up to 256 characters")]
_Image = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f]{1,512}\Z", description="an image name such as python:3.11")]
_GpuType = Annotated[str, Meta(pattern=r"^[^\x00-\x1f$`\"\\]{1,128}\Z", description="a GPU model such as H100")]

Isolation = Literal["runc", "gvisor", "kata", "exec", "raw_exec", "mock"]
"""How a sandbox is kept apart.  Which of them a cluster offers is its profile's."""


class Registry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credentials for a private image.  They never stand in a job, a log or a repr."""

    username: Text
    password: Text

    def __repr__(self) -> str:
        return "Registry(...)"


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One sandbox: image, resources, devices, lifetimes, isolation, network.

    Everything has a default but nothing is guessed: an unknown key is an error.
    """

    sandbox_id: SandboxId | None = None
    """Chosen by the caller; without it the gateway makes one."""
    image: _Image = "python:3.11"
    cpus: Annotated[float, Meta(gt=0, le=1024, description="vCPUs, more than 0 and at most 1024")] = 2.0
    """In vCPUs; 1 is 1,000 of Nomad's MHz."""
    limit_cpus: Annotated[float, Meta(gt=0, le=1024, description="vCPUs, more than 0 and at most 1024")] | None = None
    """A hard ceiling, where the isolation can enforce one."""
    memory_bytes: Annotated[int, Meta(ge=16 * 2**20, le=2**50, description="bytes, at least 16 MiB")] = 8 * 2**30
    disk_bytes: Annotated[int, Meta(ge=2**20, le=2**60, description="bytes, at least 1 MiB")] | None = None
    """None: as the cluster's profile says."""
    shm_bytes: Annotated[int, Meta(ge=2**16, le=2**50, description="bytes, at least 64 KiB")] | None = None
    """The size of /dev/shm, which counts as memory; None: as the cluster's profile says."""
    gpus: Annotated[int, Meta(ge=0, le=1024, description="a whole number of GPUs")] = 0
    gpu_type: _GpuType | None = None
    """A model, or a part of its name; None: any."""
    gpu_memory_bytes: Annotated[int, Meta(ge=1, le=2**50, description="bytes")] | None = None
    """At least so much on each GPU."""
    isolation: Isolation | None = None
    """None: as the cluster's profile says."""
    env: dict[EnvName, EnvValue] = {}
    """The environment of everything that runs in the sandbox.  `NVIDIA_*`, `ROCKLET_*` and `NOMAD_*` are refused."""
    ports: Annotated[list[_Port], Meta(max_length=32, description="at most 32 ports")] = []
    """Ports inside the sandbox that the gateway may forward to; empty: every port from 1024."""
    labels: Annotated[dict[_LabelName, _LabelValue], Meta(max_length=32, description="at most 32 labels")] = {}
    """The caller's own words, shown and searched by list."""
    registry: Registry | None = None
    startup_timeout: Seconds = DEFAULT_STARTUP_TIMEOUT
    """From the request to the rocklet's first answer; queueing and image pull count."""
    idle_timeout: Seconds = DEFAULT_IDLE_TIMEOUT
    """From the end of the last action."""
    max_lifetime: Seconds = DEFAULT_MAX_LIFETIME
    """From the rocklet's start; capped by the cluster's profile."""
    lease: Seconds | None = None
    """The trainer's promise to renew within so many seconds; None: no lease."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When the image is pulled."""
    node_pool: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}\Z", description="a node pool's name")] | None = None
