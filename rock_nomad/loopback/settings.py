"""What a cluster on loopback is to be like."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["NodeSettings", "Settings"]


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node: a Nomad client with a Consul agent of its own."""

    client: dict[str, Any] = {}
    """Laid over the `client` block of Nomad's configuration."""
    plugins: dict[str, dict[str, Any]] = {}
    """Configurations of drivers and devices by the name of their plugin, laid over what suits sandboxes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cluster: one Nomad server, one Consul server, and nodes."""

    nodes: tuple[NodeSettings, ...] = (NodeSettings(),)
    server: dict[str, Any] = {}
    """Laid over the `server` block of Nomad's configuration."""
    plugin_dir: str | None = None
    """Where the nodes find plugins that are not Nomad's own."""
    acl: bool = True
    """Ask for tokens, on Nomad and on Consul."""
    tls: bool = False
    """Speak TLS, on Nomad and on Consul, with a CA made for this cluster."""
