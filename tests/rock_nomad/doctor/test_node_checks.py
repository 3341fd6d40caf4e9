from __future__ import annotations

import copy
from typing import Any

import pytest

from rock_nomad.doctor.checks import examine
from rock_nomad.doctor.facts import Facts, NodeFacts, Unread
from rock_nomad.doctor.node_checks import isolations_by_node, version_of
from tests.rock_nomad.doctor.samples import make_facts, make_node, said
from tests.rock_nomad.samples import recording


def _drivers(**changed: object) -> dict[str, Any]:
    """The recorded node's drivers, with what its Docker engine says changed."""
    drivers: dict[str, Any] = copy.deepcopy(recording("doctor-node")["Drivers"])
    drivers["docker"]["Attributes"].update(changed)
    return drivers


def _with(node: NodeFacts, **facts: Any) -> NodeFacts:  # noqa: ANN401 - NodeFacts' fields
    return NodeFacts(**{**{name: getattr(node, name) for name in node.__struct_fields__}, **facts})


def _client(**changed: object) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(recording("doctor-client")["config"])
    config["Client"].update(changed)
    return config


def _docker(**changed: object) -> dict[str, Any]:
    """A client's configuration, with some of what its Docker driver is told changed."""
    config = _client()
    [plugin] = [each for each in config["Plugins"] if each["Name"] == "docker"]
    plugin["Config"].update(changed)
    return config


RUNTIMES = "driver.docker.runtimes"
NO_DOCKER = {name: driver for name, driver in _drivers().items() if name != "docker"}
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
            make_facts(nodes=[make_node(Drivers=NO_DOCKER)]),
            "unfit",
            "isolation runc",
            "0 of 1 nodes: 1 with no healthy driver docker",
        ),
        (
            make_facts(nodes=[make_node("a"), make_node("b", HostVolumes={}), make_node("c", HostVolumes={})]),
            "warning",
            "isolation runc",
            "1 of 3 nodes: 2 with no host volume rocklet",
        ),
        (
            make_facts(profile={"isolations": ("runc", "gvisor")}),
            "unfit",
            "isolation gvisor",
            "0 of 1 nodes: 1 with no runtime runsc",
        ),
        (
            make_facts(nodes=[make_node(Drivers=_drivers(**{"driver.docker.volumes.enabled": "true"}))]),
            "warning",
            "docker",
            "on vm every job may mount any path of the node",
        ),
        (
            make_facts(nodes=[make_node(Drivers=_drivers(**{"driver.docker.privileged.enabled": "true"}))]),
            "warning",
            "docker",
            "on vm every job may run privileged containers",
        ),
        (
            make_facts(nodes=[_with(make_node(), agent=_docker(allow_runtimes=["nvidia"]))]),
            "unfit",
            "isolation runc",
            "0 of 1 nodes: 1 with no allow_runtimes for runc",
        ),
        (
            make_facts(nodes=[_with(make_node(), agent=_docker(allow_caps=["CHOWN", "SETUID", "fowner"]))]),
            "unfit",
            "isolation runc",
            "0 of 1 nodes: 1 with no allow_caps for dac_override, kill, setgid",
        ),
        (
            make_facts(nodes=[_with(make_node(), agent=_docker(gc={"image": True}))]),
            "warning",
            "docker",
            "vm drop an image soon after its last sandbox, and the next one waits for it again",
        ),
        (
            make_facts(nodes=[make_node(NodeResources=recording("nodes")[0]["NodeResources"])]),
            "warning",
            "cpu units",
            "1000 is not one vCPU on vm (5192 for 2 cores): `cpus` means something else there",
        ),
        (
            make_facts(nodes=[_with(make_node("a"), attributes={}), make_node("b")]),
            "warning",
            "consul on nodes",
            "no sandbox can be found on a (none)",
        ),
        (
            make_facts(nodes=[_with(make_node(), attributes={"consul.version": "1.7.9"})]),
            "unfit",
            "consul on nodes",
            "no sandbox can be found on vm (1.7.9)",
        ),
        (
            make_facts(nodes=[_with(make_node("a"), clock_offset=-12.2), make_node("b")]),
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
            make_facts(nodes=[_with(make_node(), agent=_client(GCMaxAllocs=50))]),
            "warning",
            "node agents",
            "vm forget ended sandboxes, their logs too, above gc_max_allocs (50 unless set)",
        ),
        (
            make_facts(nodes=[_with(make_node(), agent=SILENT)]),
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
    node = _with(make_node(), attributes=SILENT, clock_offset=SILENT)
    assert said(examine(make_facts(nodes=[node]))) == []


def test_a_client_without_a_word_on_docker_has_nomads_own_values() -> None:
    node = _with(make_node(), agent={**_client(), "Plugins": None})
    findings = said(examine(make_facts(nodes=[node])))
    assert [(verdict, subject) for verdict, subject, _ in findings] == [("warning", "docker")]
    assert node.docker_config is not None
    assert node.docker_config["allow_runtimes"] == ["runc", "nvidia"]


def test_images_are_of_no_concern_where_no_isolation_has_any() -> None:
    node = _with(make_node(), agent=_docker(gc={"image": True}))
    profile = {"isolations": ("raw_exec",), "default_isolation": "raw_exec"}
    assert said(examine(make_facts(nodes=[node], profile=profile))) == []


def test_a_node_that_has_a_runtime_has_its_isolation() -> None:
    node = make_node(Drivers=_drivers(**{RUNTIMES: "io.containerd.runc.v2,runc,runsc"}))
    table = isolations_by_node(make_facts(nodes=[node]))
    assert {isolation for isolation, lacks in table.items() if not lacks["vm"]} == {
        "runc",
        "gvisor",
        "exec",
        "raw_exec",
        "mock",
    }
    assert table["kata"] == {"vm": "no runtime kata"}


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
