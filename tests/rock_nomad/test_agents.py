from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from rock.wire.errors import ClusterUnavailable
from rock.wire.messages import ExecuteRequest
from rock.wire.operations import EXECUTE
from rock_nomad.agents import AgentToken, ssl_context
from rock_nomad.config import ConfigError, ConsulConfig, NomadConfig
from rock_nomad.consul import Consul
from rock_nomad.loopback.settings import Settings
from rock_nomad.nomad import Nomad
from tests.cluster import run_real_cluster
from tests.gateways import start_gateway
from tests.rock_nomad.recorder import Recorder, record


def test_a_token_from_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    token = AgentToken(NomadConfig(token_file=path))
    assert token.get() == "one"
    path.write_text("two\n")
    os.utime(path, ns=(1, 1))
    assert token.get() == "two"
    replacement = tmp_path / "next"
    replacement.write_text("three\n")
    os.utime(replacement, ns=(1, 1))
    replacement.rename(path)
    assert token.get() == "three"


def test_the_last_token_serves_while_its_file_is_away_and_no_token_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    token = AgentToken(NomadConfig(token_file=path))
    assert token.get() == "one"
    path.unlink()
    assert token.get() == "one"
    with pytest.raises(ConfigError, match="token"):
        AgentToken(NomadConfig(token_file=path)).get()


def test_a_token_may_stand_in_the_configuration_or_be_none() -> None:
    token = AgentToken(NomadConfig(token=SecretStr("hunter2")))
    assert token.get() == "hunter2"
    assert "hunter2" not in repr(token)
    assert AgentToken(NomadConfig()).get() is None


def test_certificates_are_always_verified() -> None:
    context = ssl_context(NomadConfig())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.fixture
async def agent(certificate: Path) -> AsyncIterator[Recorder]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with record(tls) as recorder:
        yield recorder


@pytest.mark.slow
async def test_an_agent_is_spoken_to_only_if_our_ca_knows_it(
    agent: Recorder, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Nomad(NomadConfig(url=agent.url)) as nomad, Consul(ConsulConfig(url=agent.url)) as consul:
        for call in (nomad.agent(), nomad.stop("sbx-a"), consul.agent()):
            with pytest.raises(ClusterUnavailable, match=r"not verified by the system's CAs.*; set ca_file to the CA"):
                await call
    assert agent.seen == []
    # The environment's CA bundle is meant for the outside.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/dev/null")
    async with (
        Nomad(NomadConfig(url=agent.url, ca_file=certificate)) as nomad,
        Consul(ConsulConfig(url=agent.url, ca_file=certificate)) as consul,
    ):
        await nomad.agent()
        await nomad.stop("sbx-a")
        await consul.agent()
    assert len(agent.seen) == 3


@pytest.mark.slow
@pytest.mark.needs("TLS")
async def test_the_whole_path_by_tls_and_a_wrong_ca_is_named(certificate: Path) -> None:
    with run_real_cluster(Settings(tls=True)) as cluster:
        async with start_gateway(cluster) as gateway:
            created = await gateway.create()
            ran = await gateway.call(EXECUTE, ExecuteRequest(command=["echo", "hi"]), sandbox_id=created.sandbox_id)
            assert ran.stdout == "hi\n"
        wrong = {"ca_file": certificate}
        async with (
            Nomad(cluster.nomad_config().model_copy(update=wrong)) as nomad,
            Consul(cluster.consul_config().model_copy(update=wrong)) as consul,
        ):
            said = rf"not verified by ca_file \({certificate}\).*; set ca_file to the CA that signed it"
            for call in (nomad.nodes(), nomad.stop("sbx-a"), consul.find_rocklet("rocklet-a")):
                with pytest.raises(ClusterUnavailable, match=said):
                    await call
