from __future__ import annotations

import pytest

from rock_nomad.doctor.checks import examine
from rock_nomad.doctor.facts import Facts
from rock_nomad.doctor.isolation_checks import isolations_by_node
from tests.rock_nomad.doctor.samples import (
    change_node,
    client_config,
    docker_config,
    docker_drivers,
    make_facts,
    make_node,
    said,
)

RUNTIMES = "driver.docker.runtimes"
NO_DOCKER = {name: driver for name, driver in docker_drivers().items() if name != "docker"}


@pytest.mark.parametrize(
    ("facts", "verdict", "subject", "sentence"),
    [
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
            make_facts(nodes=[make_node(Drivers=docker_drivers(**{"driver.docker.volumes.enabled": "true"}))]),
            "warning",
            "docker",
            "on vm every job may mount any path of the node",
        ),
        (
            make_facts(nodes=[make_node(Drivers=docker_drivers(**{"driver.docker.privileged.enabled": "true"}))]),
            "warning",
            "docker",
            "on vm every job may run privileged containers",
        ),
        (
            make_facts(nodes=[change_node(make_node(), agent=docker_config(allow_runtimes=["nvidia"]))]),
            "unfit",
            "isolation runc",
            "0 of 1 nodes: 1 with no allow_runtimes for runc",
        ),
        (
            make_facts(nodes=[change_node(make_node(), agent=docker_config(allow_caps=["CHOWN", "SETUID", "fowner"]))]),
            "unfit",
            "isolation runc",
            "0 of 1 nodes: 1 with no allow_caps for dac_override, kill, setgid",
        ),
        (
            make_facts(nodes=[change_node(make_node(), agent=docker_config(gc={"image": True}))]),
            "warning",
            "docker",
            "images go soon after their last sandbox, and the next one waits for them again, on vm",
        ),
    ],
)
def test_what_nodes_lack_for_an_isolation_is_said_alone_and_with_a_remedy(
    facts: Facts, verdict: str, subject: str, sentence: str
) -> None:
    findings = examine(facts)
    assert said(findings) == [(verdict, subject, sentence)]
    assert all(bool(each.remedy) == (each.verdict.value != "ok") for each in findings)


def test_different_lacks_each_have_their_remedy() -> None:
    nodes = [make_node("a", HostVolumes={}), make_node("b", Drivers=NO_DOCKER), make_node("c", HostVolumes={})]
    [finding] = [each for each in examine(make_facts(nodes=nodes)) if each.subject == "isolation runc"]
    assert finding.sentence == "0 of 3 nodes: 2 with no host volume rocklet; 1 with no healthy driver docker"
    assert "rock-nomad bundle build" in finding.remedy
    assert "nomad node status" in finding.remedy


def test_a_node_that_has_a_runtime_has_its_isolation() -> None:
    node = make_node(Drivers=docker_drivers(**{RUNTIMES: "io.containerd.runc.v2,runc,runsc"}))
    table = isolations_by_node(make_facts(nodes=[node]))
    assert {isolation for isolation, lacks in table.items() if not lacks["vm"]} == {
        "runc",
        "gvisor",
        "exec",
        "raw_exec",
        "mock",
    }
    assert table["kata"] == {"vm": "no runtime kata"}


def test_a_client_without_a_word_on_docker_has_nomads_own_values() -> None:
    node = change_node(make_node(), agent={**client_config(), "Plugins": None})
    findings = said(examine(make_facts(nodes=[node])))
    assert [(verdict, subject) for verdict, subject, _ in findings] == [("warning", "docker")]
    assert node.docker_config is not None
    assert node.docker_config["allow_runtimes"] == ["runc", "nvidia"]


def test_images_are_of_no_concern_where_no_isolation_has_any() -> None:
    node = change_node(make_node(), agent=docker_config(gc={"image": True}))
    profile = {"isolations": ("raw_exec",), "default_isolation": "raw_exec"}
    assert said(examine(make_facts(nodes=[node], profile=profile))) == []
