"""The configuration of each agent.  Pure.

Source: what a real Nomad 2.0.5 and Consul 1.8.7 needed to start quickly, several on one address.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rock_nomad.loopback.places import Place
from rock_nomad.loopback.settings import Settings

__all__ = ["Plan", "Tokens", "node_name", "render_configs", "write_configs"]

HOST = "127.0.0.1"

_CONSUL_HTTP, _CONSUL_SERVER, _CONSUL_SERF, _SERVER_HTTP, _SERVER_RPC, _SERVER_SERF = range(6)
_SERVERS_PORTS, _NODE_PORTS = 6, 4

_Config = dict[str, Any]


class Tokens(NamedTuple):
    """Secrets chosen before the agents start, so that their configurations can name them."""

    nomad: str
    """Nomad's management token."""
    consul: str
    """Consul's management token."""
    agents: str
    """What Nomad's and Consul's own agents show Consul."""


class Plan(NamedTuple):
    """All that the agents' configurations are made of."""

    place: Place
    settings: Settings
    tokens: Tokens | None
    """None: ask for none."""
    certificate: Mapping[str, str] | None
    """`ca_file`, `cert_file` and `key_file` of every agent; None: no TLS."""

    @property
    def nomad_url(self) -> str:
        """Where Nomad's server answers."""
        return f"{self._scheme}://{HOST}:{self.place.port(_SERVER_HTTP)}"

    @property
    def consul_url(self) -> str:
        """Where Consul's server answers."""
        return f"{self._scheme}://{HOST}:{self.place.port(_CONSUL_HTTP)}"

    def client_url(self, node: int) -> str:
        """Where a node's Nomad client answers."""
        return f"{self._scheme}://{HOST}:{_node_port(self, node, 0)}"

    def consul_client_url(self, node: int) -> str:
        """Where a node's Consul agent answers."""
        return f"{self._scheme}://{HOST}:{_node_port(self, node, 1)}"

    @property
    def _scheme(self) -> str:
        return "https" if self.certificate else "http"


def node_name(node: int) -> str:
    """What a node is called."""
    return f"node-{node}"


def render_configs(plan: Plan) -> dict[str, _Config]:
    """The configuration of each agent by name: `consul`, `server`, and for each node its Consul agent and client."""
    configs = {"consul": _consul_server(plan), "server": _nomad_server(plan)}
    for node in range(len(plan.settings.nodes)):
        configs[f"{node_name(node)}-consul"] = _consul_client(plan, node)
        configs[node_name(node)] = _nomad_client(plan, node)
    return configs


def _consul(plan: Plan, name: str, ports: Mapping[str, int]) -> _Config:
    used = {"dns": -1, "grpc": -1, "serf_wan": -1, **ports}
    config: _Config = {
        "node_name": name,
        "data_dir": str(plan.place.folder / name),
        "bind_addr": HOST,
        "client_addr": HOST,
        "disable_update_check": True,
        "performance": {"raft_multiplier": 1},
        "ports": used,
    }
    if plan.tokens:
        tokens = {"agent": plan.tokens.agents}
        config["acl"] = {"enabled": True, "default_policy": "deny", "enable_token_persistence": False, "tokens": tokens}
    if plan.certificate:
        used["https"], used["http"] = used["http"], -1
        config |= {**plan.certificate, "verify_incoming_rpc": True, "verify_outgoing": True}
        config["verify_server_hostname"] = True
    return config


def _consul_server(plan: Plan) -> _Config:
    ports = {"http": _CONSUL_HTTP, "server": _CONSUL_SERVER, "serf_lan": _CONSUL_SERF}
    config = _consul(plan, "consul", {name: plan.place.port(number) for name, number in ports.items()})
    if plan.tokens:
        config["acl"]["tokens"]["master"] = plan.tokens.consul
    return {**config, "server": True, "bootstrap_expect": 1}


def _consul_client(plan: Plan, node: int) -> _Config:
    # A Consul agent on which two Nomad clients registered would lose what either did not know of.
    ports = {"http": _node_port(plan, node, 1), "serf_lan": _node_port(plan, node, 2), "server": _unused(plan, node)}
    joined = {"retry_join": [f"{HOST}:{plan.place.port(_CONSUL_SERF)}"], "retry_interval": "1s"}
    return {**_consul(plan, f"{node_name(node)}-consul", ports), **joined}


def _nomad(plan: Plan, name: str, ports: Mapping[str, int], consul_port: int) -> _Config:
    consul: _Config = {"address": f"{HOST}:{consul_port}"}
    config: _Config = {
        "name": name,
        "data_dir": str(plan.place.folder / name),
        "bind_addr": HOST,
        "ports": ports,
        # Loopback is not announced of itself.
        "advertise": dict.fromkeys(("http", "rpc", "serf"), HOST),
        "disable_update_check": True,
        "leave_on_terminate": False,
        "telemetry": {"prometheus_metrics": True, "publish_allocation_metrics": True, "publish_node_metrics": True},
        "consul": consul,
    }
    if plan.tokens:
        config["acl"] = {"enabled": True}
        consul["token"] = plan.tokens.agents
    if plan.certificate:
        config["tls"] = {"http": True, "rpc": True, "verify_server_hostname": True, **plan.certificate}
        consul |= {"ssl": True, **plan.certificate}
    return config


def _nomad_server(plan: Plan) -> _Config:
    ports = {"http": _SERVER_HTTP, "rpc": _SERVER_RPC, "serf": _SERVER_SERF}
    at = {name: plan.place.port(number) for name, number in ports.items()}
    server = {"enabled": True, "bootstrap_expect": 1, "event_buffer_size": 10_000, **plan.settings.server}
    return {**_nomad(plan, "server", at, plan.place.port(_CONSUL_HTTP)), "server": server}


def _nomad_client(plan: Plan, node: int) -> _Config:
    settings = plan.settings.nodes[node]
    first, last = plan.place.task_ports(node, len(plan.settings.nodes))
    client = {
        "enabled": True,
        "servers": [f"{HOST}:{plan.place.port(_SERVER_RPC)}"],
        "network_interface": "lo",
        "min_dynamic_port": first,
        "max_dynamic_port": last,
        # So that 1000 is one core on every machine.
        "cpu_total_compute": 1000 * (os.cpu_count() or 1),
        "gc_max_allocs": 500,
        # Ended sandboxes stay to be asked about, however full the machine's disk is with other things.
        "gc_disk_usage_threshold": 100,
        "gc_inode_usage_threshold": 100,
        # Off the cloud these probe link-local addresses.
        "options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean"},
        **settings.client,
    }
    ports = {"http": _node_port(plan, node, 0), "rpc": _unused(plan, node), "serf": _unused(plan, node)}
    config = _nomad(plan, node_name(node), ports, _node_port(plan, node, 1))
    if plan.settings.plugin_dir:
        config["plugin_dir"] = str(Path(plan.settings.plugin_dir).absolute())
    plugins = {**_PLUGINS, **settings.plugins}
    return {**config, "client": client, "plugin": {name: [{"config": [plugins[name]]}] for name in plugins}}


_PLUGINS: Mapping[str, _Config] = {
    "raw_exec": {"enabled": True},
    # Images that sandboxes will be started of again stay; no job mounts what it likes.
    "docker": {
        # Nor does a client end containers that it does not know: another cluster's, on the same engine.
        "gc": {"image": False, "dangling_containers": {"enabled": False}},
        "volumes": {"enabled": False},
        "allow_runtimes": ["runc", "nvidia", "runsc", "kata"],
    },
}


def _unused(plan: Plan, node: int) -> int:
    """A port that must be named and that clients do not listen on."""
    return _node_port(plan, node, 3)


def _node_port(plan: Plan, node: int, number: int) -> int:
    return plan.place.port(_SERVERS_PORTS + node * _NODE_PORTS + number)


def write_configs(configs: Mapping[str, _Config], folder: Path) -> None:
    """Each configuration as a file for its agent, which root alone reads: tokens stand in it."""
    for name, config in configs.items():
        (folder / name).mkdir(mode=0o711)
        file = folder / f"{name}.json"
        file.touch(mode=0o600)
        file.write_bytes(msgspec.json.encode(config))
