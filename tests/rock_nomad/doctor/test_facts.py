from __future__ import annotations

from typing import Any

import pytest

from rock_nomad.doctor.facts import Unread
from rock_nomad.records import EMBEDDED
from tests.rock_nomad.doctor.samples import make_facts, make_node


@pytest.mark.parametrize(
    "away", [{"Status": "down"}, {"SchedulingEligibility": "ineligible"}, {"Drain": True}, {"Status": None}]
)
def test_a_node_is_ready_only_if_nomad_places_on_it(away: dict[str, Any]) -> None:
    assert make_node().is_ready
    assert not make_node(**away).is_ready
    facts = make_facts(nodes=[make_node("a"), make_node("b", **away)])
    assert [node.name for node in facts.ready_nodes] == ["a"]


def test_only_healthy_drivers_count() -> None:
    drivers = make_node().row["Drivers"]
    sick = {**drivers, "docker": {**drivers["docker"], "Healthy": False}}
    assert "docker" in make_node().drivers
    assert "docker" not in make_node(Drivers=sick).drivers


def test_a_node_that_tells_little_has_little() -> None:
    bare = make_node(Drivers=None, HostVolumes=None, NodeResources=None)
    assert (bare.drivers, bare.volumes) == ({}, [])


def test_the_embedded_cluster_is_known_by_its_version() -> None:
    assert make_facts(nomad={"Version": {"Version": EMBEDDED}}).is_embedded
    assert not make_facts().is_embedded
    assert not make_facts(nomad=Unread(why="away")).is_embedded


def test_nodes_that_could_not_be_read_are_none() -> None:
    assert make_facts(nodes=Unread(why="not yours", is_denied=True)).ready_nodes == []
