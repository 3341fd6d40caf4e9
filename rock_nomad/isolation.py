"""How sandboxes are kept apart: a table of profiles, as data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from rock.wire.spec import SandboxSpec

__all__ = ["CONTAINER_PORT", "DOCKER_RUNTIMES_ATTRIBUTE", "ISOLATIONS", "IsolationProfile"]

CONTAINER_PORT = 22555
"""Where the rocklet listens inside a container."""

DOCKER_RUNTIMES_ATTRIBUTE = "${attr.driver.docker.runtimes}"
"""A node's attribute: the runtimes its Docker engine has, separated by commas."""

_DOCKER_CONFIG: Mapping[str, Any] = {
    "init": True,  # an init that reaps what commands leave behind
    "cap_drop": ["all"],  # the profile says which are kept
    "healthchecks": [{"disable": True}],  # an image's own health check would run inside the sandbox
    "ports": ["rocklet"],
}


class IsolationProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One way of keeping sandboxes apart, and what it can and cannot do."""

    driver: str
    """The Nomad driver."""
    runtime: str | None = None
    """The container runtime that a node must have."""
    uses_image: bool = False
    """Whether the sandbox's file system is the image's."""
    maps_ports: bool = False
    """Whether the rocklet listens on a port of its own inside; otherwise it listens on the node's."""
    brings_rocklet: bool = False
    """Whether the rocklet comes in as a bundle, mounted or fetched; otherwise the node has it."""
    has_rocklet: bool = True
    """Whether a rocklet runs at all; without one a sandbox is judged by Nomad alone."""
    limits_cpu: bool = False
    """Whether `limit_cpus` can be enforced."""
    takes_gpus: bool = True
    """Whether it can be given devices."""
    config: Mapping[str, Any] = {}
    """What the driver is told for every sandbox."""

    def warnings(self, spec: SandboxSpec, isolation: str) -> list[str]:
        """What a spec asks for that is recorded and not done, in sentences."""
        said = []
        if not self.uses_image:
            said.append(f"the image {spec.image} is recorded but not used: {isolation} runs on the node's own files")
        if spec.registry is not None and not self.uses_image:
            said.append(f"the registry's credentials are not used: {isolation} pulls no image")
        if spec.shm_bytes is not None and not self.uses_image:
            said.append(f"shm_bytes {spec.shm_bytes} is not enforced: with {isolation} /dev/shm is the node's own")
        if spec.pull == "never" and self.uses_image:
            said.append("pull never is not enforced: a node pulls an image that it does not have")
        if spec.limit_cpus is not None and (not self.limits_cpu or spec.limit_cpus != spec.cpus):
            why = f"{isolation} limits to exactly cpus" if self.limits_cpu else f"{isolation} has no CPU ceiling"
            said.append(f"limit_cpus {spec.limit_cpus:g} is not enforced: {why}")
        return said


def _docker(runtime: str, **facts: bool) -> IsolationProfile:
    return IsolationProfile(
        driver="docker",
        runtime=runtime,
        uses_image=True,
        maps_ports=True,
        brings_rocklet=True,
        limits_cpu=True,
        config={**_DOCKER_CONFIG, "runtime": runtime},
        **facts,
    )


ISOLATIONS: Mapping[str, IsolationProfile] = MappingProxyType(
    {
        "runc": _docker("runc"),
        # The driver takes another runtime for a GPU and then refuses this one.
        # Source: hashicorp/nomad drivers/docker/driver.go, "conflicting runtime requests".
        "gvisor": _docker("runsc", takes_gpus=False),
        "kata": _docker("kata", takes_gpus=False),
        "exec": IsolationProfile(driver="exec", brings_rocklet=True),
        "raw_exec": IsolationProfile(driver="raw_exec"),
        "mock": IsolationProfile(driver="mock_driver", has_rocklet=False),
    }
)
"""Every isolation a spec can name.  Which of them a cluster offers is its profile's."""
