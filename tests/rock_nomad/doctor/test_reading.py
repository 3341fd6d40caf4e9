from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from rock_nomad.config import ClusterConfig, ConsulConfig, NomadConfig, load_gateway_config
from rock_nomad.doctor.checks import examine
from rock_nomad.doctor.facts import Unread
from rock_nomad.doctor.findings import Verdict, exit_code
from rock_nomad.doctor.reading import read_facts
from tests.cluster import Cluster
from tests.gateways import write_config
from tests.gpus import run_gpu_cluster
from tests.needs import KINDS, Kind
from tests.rock_nomad.recorder import record

AWAY = "http://127.0.0.1:1"


@pytest.mark.slow
async def test_a_cluster_that_runs_sandboxes_is_fit(cluster: Cluster, tmp_path: Path) -> None:
    facts = await read_facts(load_gateway_config(write_config(tmp_path, cluster, isolations=["raw_exec", "mock"])))
    findings = examine(facts)
    assert exit_code(findings) == 0, findings
    said = {each.subject: each.sentence for each in findings}
    assert said["isolation raw_exec"] == "1 of 1 nodes"
    assert facts.is_embedded == (cluster.kind == "embedded")
    assert said["nomad"].startswith("rock-nomad-embedded" if facts.is_embedded else "2.0.")
    [node] = facts.ready_nodes
    assert not isinstance(node.attributes, Unread)
    assert node.attributes["consul.version"] == "1.8.7"
    assert isinstance(node.agent, Unread) == facts.is_embedded
    assert not isinstance(node.clock_offset, Unread)
    assert abs(node.clock_offset) < 60  # of clocks that are one; a busy machine looks at its own late


@pytest.mark.slow
async def test_files_are_read_with_their_permissions(cluster: Cluster, tmp_path: Path) -> None:
    path = write_config(tmp_path, cluster)
    (tmp_path / "secret").chmod(0o644)
    (tmp_path / "keys.yaml").write_text("keys: [{name: a}]")
    files = {file.path.name: file for file in (await read_facts(load_gateway_config(path))).files}
    assert (files["secret"].mode, files["secret"].complaint) == (0o644, "")
    assert "sha256" in files["keys.yaml"].complaint
    (tmp_path / "secret").unlink()
    gone = {file.path.name: file for file in (await read_facts(load_gateway_config(path))).files}["secret"]
    assert gone.mode is None
    assert "cannot be read" in gone.complaint


async def test_agents_that_are_away_are_asked_once_each() -> None:
    facts = await read_facts(ClusterConfig(nomad=NomadConfig(url=AWAY), consul=ConsulConfig(url=AWAY)))
    for unread in (facts.nomad, facts.consul, facts.nodes, facts.nomad_rights, facts.consul_rights, facts.scheduler):
        assert isinstance(unread, Unread)
        assert not unread.is_denied
        assert AWAY in unread.why
    assert [each.subject for each in examine(facts)] == ["nomad", "consul"]
    assert {each.verdict for each in examine(facts)} == {Verdict.UNASKED}


@pytest.mark.slow
@pytest.mark.parametrize("is_secure", [False, True])
async def test_a_token_is_shown_to_a_nodes_agent_but_never_by_a_weaker_way_than_to_nomad(
    certificate: Path, is_secure: bool
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with record(tls if is_secure else None) as there, record() as agent:
        there.answers["/v1/nodes"] = (200, [{"ID": "n", "Status": "ready", "NodePool": "default", "Datacenter": "dc1"}])
        there.answers["/v1/node/n"] = (200, {"HTTPAddr": agent.url.removeprefix("http://"), "TLSEnabled": False})
        there.answers["/v1/client/stats"] = (200, {"Timestamp": 0})
        there.answers["/v1/jobs"] = (200, [])
        config = NomadConfig(url=there.url, ca_file=certificate, token=SecretStr("ours"))
        facts = await read_facts(ClusterConfig(nomad=config, consul=ConsulConfig(url=AWAY)))
        assert [seen.headers["X-Nomad-Token"] for seen in agent.seen] == ([] if is_secure else ["ours"])
    assert not isinstance(facts.nodes, Unread)
    assert isinstance(facts.nodes[0].agent, Unread) == is_secure


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_a_card_that_is_sick_is_named_with_its_node(kind: Kind, tmp_path: Path) -> None:
    with run_gpu_cluster(kind) as gpus:
        config = load_gateway_config(write_config(tmp_path, gpus.cluster))
        assert "2 x NVIDIA H100 80GB HBM3, all well" in await _said_of_gpus(config)
        await asyncio.to_thread(gpus.make_sick, GPU_simulated_0_0="XID 79")
        said = await _said_of_gpus(config)
    assert re.search(r"; sick: GPU-simulated-0-0 \(NVIDIA H100 80GB HBM3\) on \S+: XID 79$", said)


async def _said_of_gpus(config: ClusterConfig) -> str:
    [finding] = [each for each in examine(await read_facts(config)) if each.subject == "GPUs"]
    return finding.sentence
