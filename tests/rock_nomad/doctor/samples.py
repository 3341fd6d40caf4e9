"""A cluster in which all is well, as a real one told it, and ways to spoil it."""

from __future__ import annotations

import copy
from typing import Any

from rock_nomad.config import ClusterConfig, ClusterProfile
from rock_nomad.doctor.facts import Facts, NodeFacts, Rights
from rock_nomad.doctor.findings import Finding
from tests.rock_nomad.samples import recording

__all__ = ["change_node", "client_config", "docker_config", "docker_drivers", "make_facts", "make_node", "said"]


def make_node(name: str = "vm", **row: Any) -> NodeFacts:  # noqa: ANN401 - Nomad's fields
    """A node that is fit; `row` is laid over its line of a listing."""
    return NodeFacts(
        row={**copy.deepcopy(recording("doctor-node")), "Name": name, **row},
        attributes=recording("doctor-node-attributes"),
        clock_offset=0.4,
        agent=recording("doctor-client")["config"],
    )


def docker_drivers(**changed: object) -> dict[str, Any]:
    """The recorded node's drivers, with what its Docker engine says changed."""
    drivers: dict[str, Any] = copy.deepcopy(recording("doctor-node")["Drivers"])
    drivers["docker"]["Attributes"].update(changed)
    return drivers


def change_node(node: NodeFacts, **facts: Any) -> NodeFacts:  # noqa: ANN401 - NodeFacts' fields
    """A node of which something else is known."""
    return NodeFacts(**{**{name: getattr(node, name) for name in node.__struct_fields__}, **facts})


def client_config(**changed: object) -> dict[str, Any]:
    """A client's configuration, with some of its `client` block changed."""
    config: dict[str, Any] = copy.deepcopy(recording("doctor-client")["config"])
    config["Client"].update(changed)
    return config


def docker_config(**changed: object) -> dict[str, Any]:
    """A client's configuration, with some of what its Docker driver is told changed."""
    config = client_config()
    [plugin] = [each for each in config["Plugins"] if each["Name"] == "docker"]
    plugin["Config"].update(changed)
    return config


def make_facts(*, profile: dict[str, Any] | None = None, **facts: Any) -> Facts:  # noqa: ANN401 - Facts' fields
    """A cluster that is fit, with some of its facts changed."""
    healthy = {
        "config": ClusterConfig(profile=ClusterProfile(**(profile or {}))),
        "nomad": recording("doctor-server")["config"],
        "nomad_clock_offset": -0.3,
        "nomad_rights": Rights(missing=[]),
        "consul": recording("doctor-consul"),
        "consul_rights": Rights(missing=[]),
        "scheduler": recording("doctor-scheduler")["SchedulerConfig"],
        "nodes": [make_node()],
    }
    return Facts(**{**healthy, **facts})


def said(findings: list[Finding]) -> list[tuple[str, str, str]]:
    """What is not as it should be: verdict, subject and sentence."""
    return [(each.verdict.value, each.subject, each.sentence) for each in findings if each.verdict.value != "ok"]
