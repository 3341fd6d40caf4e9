"""What is known of a cluster, as values; what could not be read says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from rock_nomad.config import ClusterConfig, ClusterProfile
from rock_nomad.records import EMBEDDED, Row, agent_version, mapping, rows, text

__all__ = ["Facts", "FileFacts", "NodeFacts", "Rights", "Unread"]


_DOCKER_DEFAULTS: Row = {
    "allow_runtimes": ["runc", "nvidia"],
    "allow_caps": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"],
    "gc": {"image": True},
}
"""Of a client without a `plugin "docker"` block, as far as sandboxes depend on it.

Source: hashicorp/nomad drivers/docker/config.go, and the same block told by a client that has one.
"""


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be read."""

    why: str
    is_denied: bool = False
    """Whether an agent answered that our token may not; otherwise nobody answered."""


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What came of trying what the gateway does."""

    missing: Sequence[str]
    """The rights that the token lacks, as a policy writes them."""
    complaint: str = ""
    """What Nomad said against a sandbox's job other than that."""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the profile's pool."""

    row: Row
    """Its line of a listing with resources."""
    attributes: Row | Unread
    clock_offset: float | Unread
    """Seconds by which its clock is ahead of this machine's, to about a second."""
    agent: Row | Unread
    """Its agent's own configuration."""

    @property
    def name(self) -> str:
        """What people call it."""
        return text(self.row.get("Name"))

    @property
    def is_ready(self) -> bool:
        """Whether Nomad places sandboxes on it."""
        is_eligible = self.row.get("SchedulingEligibility") == "eligible"
        return self.row.get("Status") == "ready" and is_eligible and not self.row.get("Drain")

    @property
    def drivers(self) -> Mapping[str, Row]:
        """Its healthy drivers, each with its attributes."""
        drivers = {name: mapping(driver) for name, driver in mapping(self.row.get("Drivers")).items()}
        return {name: mapping(each.get("Attributes")) for name, each in drivers.items() if each.get("Healthy") is True}

    @property
    def volumes(self) -> Sequence[str]:
        """Its host volumes."""
        return list(mapping(self.row.get("HostVolumes")))

    @property
    def docker_config(self) -> Row | None:
        """What its Docker driver is told, with Nomad's own values if nothing; None: its agent could not be asked."""
        if isinstance(self.agent, Unread):
            return None
        told = {text(each.get("Name")): mapping(each.get("Config")) for each in rows(self.agent.get("Plugins"))}
        return told.get("docker", _DOCKER_DEFAULTS)


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a gateway reads."""

    path: Path
    is_secret: bool
    mode: int | None
    """Its permissions; None if there is no such file."""
    complaint: str = ""
    """What a gateway would say against its content."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that was read of one cluster."""

    config: ClusterConfig
    nomad: Row | Unread
    """The configuration of the agent that was asked."""
    nomad_clock_offset: float
    """Seconds by which its clock is ahead of this machine's, to about a second."""
    nomad_rights: Rights | Unread
    consul: Row | Unread
    """The agent's `Config` and `DebugConfig`."""
    consul_rights: Rights | Unread
    scheduler: Row | Unread
    nodes: Sequence[NodeFacts] | Unread
    files: Sequence[FileFacts] = ()

    @property
    def profile(self) -> ClusterProfile:
        """What the cluster is to offer."""
        return self.config.profile

    @property
    def is_embedded(self) -> bool:
        """Whether it is the one-machine cluster, which has none of Nomad's settings."""
        return not isinstance(self.nomad, Unread) and agent_version(self.nomad) == EMBEDDED

    @property
    def ready_nodes(self) -> list[NodeFacts]:
        """The nodes that sandboxes are placed on; none if the nodes could not be read."""
        return [] if isinstance(self.nodes, Unread) else [node for node in self.nodes if node.is_ready]
