from __future__ import annotations

import copy
from typing import Any

import pytest

from rock_nomad.doctor.checks import examine
from rock_nomad.doctor.facts import Facts, Unread
from rock_nomad.doctor.node_checks import version_of
from tests.rock_nomad.doctor.samples import change_node, client_config, make_facts, make_node, said
from tests.rock_nomad.samples import recording

SILENT = Unread(why="nobody answers")


@pytest.mark.parametrize(
    ("facts", "verdict", "subject", "sentence"),
    [
        (make_facts(nodes=[]), "unfit", "nodes", "0 of 0 in the pool 'default' take sandboxes"),
        (
            make_facts(nodes=[make_node("a", Status="down"), make_node("b", Drain=True)]),
            "unfit",
            "nodes",
            "0 of 2 in the pool 'default' take sandboxes; a is down; b is draining",
        ),
        (
            make_facts(nodes=[make_node("a"), make_node("b", SchedulingEligibility="ineligible")]),
            "warning",
            "nodes",
            "1 of 2 in the pool 'default' take sandboxes; b is ineligible",
        ),
        (
            make_facts(nodes=[], profile={"elastic_pools": ("default",)}),
            "warning",
            "nodes",
            "0 of 0 in the pool 'default' take sandboxes",
        ),
        (
            make_facts(nodes=Unread(why="no", is_denied=True)),
            "warning",
            "nodes",
            "which there are is not for this token to see",
        ),
        (
            make_facts(nodes=[make_node("a"), make_node("b", Version="2.0.2")]),
            "unfit",
            "nodes",
            "too old to limit a sandbox's time: b (2.0.2)",
        ),
        (
            make_facts(nodes=[make_node(NodeResources=recording("nodes")[0]["NodeResources"])]),
            "warning",
            "cpu units",
            "1000 is not one vCPU on vm (5192 for 2 cores): `cpus` means something else there",
        ),
        (
            make_facts(nodes=[change_node(make_node("a"), attributes={}), make_node("b")]),
            "warning",
            "consul on nodes",
            "no sandbox can be found on a (none)",
        ),
        (
            make_facts(nodes=[change_node(make_node(), attributes={"consul.version": "1.7.9"})]),
            "unfit",
            "consul on nodes",
            "no sandbox can be found on vm (1.7.9)",
        ),
        (
            make_facts(nodes=[change_node(make_node("a"), clock_offset=-12.2), make_node("b")]),
            "warning",
            "clocks",
            "they differ from this machine's: a by -12 s",
        ),
        (
            make_facts(nomad_clock_offset=90.0),
            "unfit",
            "clocks",
            "they differ from this machine's: the Nomad server by +90 s",
        ),
        (
            make_facts(nodes=[change_node(make_node(), agent=client_config(GCMaxAllocs=50))]),
            "warning",
            "node agents",
            "vm forget ended sandboxes, their logs too, above gc_max_allocs (50 unless set)",
        ),
        (
            make_facts(nodes=[change_node(make_node(), agent=SILENT)]),
            "warning",
            "node agents",
            "vm cannot be asked from here for gc_max_allocs",
        ),
    ],
)
def test_what_is_wrong_with_nodes_is_said_alone_and_with_a_remedy(
    facts: Facts, verdict: str, subject: str, sentence: str
) -> None:
    findings = examine(facts)
    assert said(findings) == [(verdict, subject, sentence)]
    assert all(bool(each.remedy) == (each.verdict.value != "ok") for each in findings)


def test_what_could_not_be_read_of_a_node_is_not_held_against_it() -> None:
    node = change_node(make_node(), attributes=SILENT, clock_offset=SILENT)
    assert said(examine(make_facts(nodes=[node]))) == []


def _gpus(*healthy: bool) -> dict[str, Any]:
    resources: dict[str, Any] = copy.deepcopy(recording("doctor-node")["NodeResources"])
    resources["Devices"] = copy.deepcopy(recording("gpu-node")["NodeResources"]["Devices"][:1])
    for instance, is_well in zip(resources["Devices"][0]["Instances"], healthy, strict=True):
        instance.update(Healthy=is_well, HealthDescription="" if is_well else "XID 79")
    return resources


def test_sick_gpus_are_named_with_their_node_and_their_fault() -> None:
    facts = make_facts(nodes=[make_node("a", NodeResources=_gpus(True, False)), make_node("b")])
    sentence = "2 x NVIDIA H100 80GB HBM3; sick: GPU-fake-0-1 (NVIDIA H100 80GB HBM3) on a: XID 79"
    assert said(examine(facts)) == [("warning", "GPUs", sentence)]


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("gpu", "2 x NVIDIA H100 80GB HBM3, all well"),
        ("nvidia/gpu", "2 x NVIDIA H100 80GB HBM3, all well"),
        ("nvidia/gpu/NVIDIA H100 80GB HBM3", "2 x NVIDIA H100 80GB HBM3, all well"),
        ("amd/gpu", "no node has amd/gpu"),
    ],
)
def test_gpus_are_those_that_a_request_would_get(device: str, sentence: str) -> None:
    facts = make_facts(nodes=[make_node(NodeResources=_gpus(True, True))], profile={"gpu_device": device})
    assert sentence in [each.sentence for each in examine(facts) if each.subject == "GPUs"]


@pytest.mark.parametrize(
    ("older", "newer"), [("2.0.2", "2.0.3"), ("1.11.0", "2.0.3-beta.1"), ("2.0.9", "2.0.10"), ("1.8", "1.8.7+ent")]
)
def test_versions_compare_by_their_numbers(older: str, newer: str) -> None:
    assert version_of(older) < version_of(newer)
