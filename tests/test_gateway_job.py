"""The README's part about an operator's cluster, typed as it stands on a real one, and what comes of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from rock.wire.errors import RouteNotFound
from rock.wire.messages import ExecuteRequest, State
from rock.wire.operations import EXECUTE, GET_SANDBOX, LIST_SANDBOXES, STOP_SANDBOX
from rock_nomad.loopback.settings import NodeSettings, Settings
from tests.clis import ROOT, clean_environment
from tests.cluster import Cluster, run_real_cluster
from tests.gateways import Gateway
from tests.processes import pids_naming

pytestmark = [pytest.mark.slow, pytest.mark.needs("a gateway as a job")]

KEY = "a key of my choice"
REPLICAS = 2

_PART = (ROOT / "README.md").read_text().partition("## Run it on your Nomad cluster\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"```bash\n(.*?)```", _PART, re.DOTALL)[0].splitlines()
SHOWN = re.findall(r"```text\n(.*?)```", _PART, re.DOTALL)[0]


@dataclass(frozen=True)
class Deployment:
    """A cluster whose gateway runs as a job, and what the commands said that started it."""

    cluster: Cluster
    said: list[str]

    def addresses(self) -> list[str]:
        """Where Consul says that healthy replicas are."""
        rows = self.cluster.consul("GET", "/v1/health/service/rock-gateway?passing").data
        return sorted(f"http://{row['Service']['Address']}:{row['Service']['Port']}" for row in rows)

    def address_of(self, role: str) -> str:
        """Where Consul says that a healthy replica of a role is."""
        [row] = self.cluster.consul("GET", f"/v1/health/service/rock-gateway?passing&tag={role}").data
        return f"http://{row['Service']['Address']}:{row['Service']['Port']}"

    def replicas(self) -> dict[str, str]:
        """The allocation of each replica by its address."""
        rows = self.cluster.consul("GET", "/v1/health/service/rock-gateway").data
        found = {f"http://{row['Service']['Address']}:{row['Service']['Port']}": row["Service"]["ID"] for row in rows}
        return {url: re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)[0] for url, name in found.items()}

    def wait_until_healthy(self, count: int) -> None:
        """Wait until Consul says that so many replicas are, by blocking queries."""
        index = 0
        for _ in range(100):
            path = f"/v1/health/service/rock-gateway?passing&index={index}&wait=30s"
            reply = self.cluster.consul("GET", path)
            if len(reply.data) == count:
                return
            index = int(reply.headers["x-consul-index"])
        raise AssertionError(f"never {count} replicas: {reply.data}")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("job")
    volume = {"rocklet": {"path": str(folder), "read_only": True}}
    with run_real_cluster(Settings(nodes=(NodeSettings(client={"host_volume": volume}),))) as cluster:
        deployment = Deployment(cluster, [])
        environment = _environment(cluster, folder)
        for command in COMMANDS:
            if addresses := deployment.addresses():
                environment["ROCK_BASE_URL"] = addresses[0]
            deployment.said.append(_type(command, environment))
        yield deployment


def _environment(cluster: Cluster, folder: Path) -> dict[str, str]:
    """An administrator's, and what this machine's nodes differ in from the job's own values."""
    return {
        **clean_environment(folder),
        "NOMAD_ADDR": cluster.nomad_url,
        "NOMAD_TOKEN": cluster.nomad_token,
        "CONSUL_HTTP_ADDR": cluster.consul_url,
        "CONSUL_HTTP_TOKEN": cluster.consul_token,
        "ROCK_CONSUL_TOKEN": cluster.gateway_consul_token,
        "ROCK_API_KEY": KEY,
        "NOMAD_VAR_port": "0",
        "NOMAD_VAR_count": str(REPLICAS),
        "NOMAD_VAR_driver": "raw_exec",
        "NOMAD_VAR_command": str(Path(sys.executable).with_name("rock-nomad")),
        "NOMAD_VAR_consul_url": cluster.consul_url,
        "NOMAD_VAR_memory": "128",
        "NOMAD_VAR_profile": "{default_isolation: raw_exec, isolations: [raw_exec], default_disk_bytes: 30000000}",
    }


def _type(command: str, environment: dict[str, str]) -> str:
    here = command.replace(".venv/bin/rock-nomad", f"{sys.executable} -m rock_nomad")
    ran = subprocess.run(
        ["bash", "-euc", here], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def test_the_job_is_as_good_with_an_image(deployment: Deployment, tmp_path: Path) -> None:
    environment = {**_environment(deployment.cluster, tmp_path), "NOMAD_VAR_driver": "docker", "NOMAD_VAR_port": "8080"}
    assert "Job validation successful" in _type("nomad job validate jobspecs/gateway.nomad.hcl", environment)
    with pytest.raises(AssertionError, match="driver must be docker or raw_exec"):
        _type("nomad job validate -var driver=java jobspecs/gateway.nomad.hcl", environment)


def test_five_commands_bring_a_cluster_to_its_first_sandbox(deployment: Deployment) -> None:
    assert len(COMMANDS) <= 5
    assert "hello from Linux" in deployment.said[-1]


def _subjects(told: str) -> list[str]:
    """What a doctor's output speaks of, once its form is found to be as it should."""
    findings, isolations, summary = told.rstrip().split("\n\n")
    lines = findings.splitlines()
    subjects = [found[1] for line in lines if (found := re.match(r"(?:ok|warning) +(\w+(?: \w+)*)  +\S", line))]
    assert len(subjects) + sum(bool(re.match(" +→ ", line)) for line in lines) == len(lines)
    assert re.match(r"isolation +offered +nodes that have it +others\s", isolations)
    assert summary == "fit for sandboxes"
    return subjects


def test_the_doctor_speaks_as_the_readme_shows(deployment: Deployment) -> None:
    spoken = _subjects(deployment.said[0])
    assert [subject for subject in spoken if subject in _subjects(SHOWN)] == _subjects(SHOWN)


async def test_a_replica_that_is_killed_takes_nothing_along(deployment: Deployment) -> None:
    replicas = deployment.replicas()
    dying, living = sorted(replicas)
    (pid,) = (pid for pid in pids_naming(f"{replicas[dying]}/gateway/secrets/gateway.yaml") if _is_gateway(pid))
    async with aiohttp.ClientSession() as session:
        first, second = Gateway(dying, KEY, session), Gateway(living, KEY, session)
        created = await first.create()
        command = ExecuteRequest(command=["bash", "-c", "sleep 1; echo done"])
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(second.call(EXECUTE, command, sandbox_id=created.sandbox_id))
            os.kill(pid, signal.SIGKILL)
        assert running.result().stdout == "done\n"
        listed = await second.call(LIST_SANDBOXES)
        assert created.sandbox_id in {each.sandbox_id for each in listed.sandboxes}
        seen = await second.call(GET_SANDBOX, sandbox_id=created.sandbox_id)
        assert (seen.state, seen.alloc_id) == (State.RUNNING, created.alloc_id)
        await asyncio.to_thread(deployment.wait_until_healthy, REPLICAS)
        assert len(await asyncio.to_thread(deployment.addresses)) == REPLICAS
        await second.call(STOP_SANDBOX, sandbox_id=created.sandbox_id)


async def test_each_path_may_have_replicas_of_its_own(deployment: Deployment, tmp_path: Path) -> None:
    split = {"NOMAD_VAR_roles": '["write", "read"]', "NOMAD_VAR_count": "1"}
    environment = {**_environment(deployment.cluster, tmp_path), **split}
    await asyncio.to_thread(_type, "nomad job run jobspecs/gateway.nomad.hcl", environment)
    await asyncio.to_thread(deployment.wait_until_healthy, 2)
    async with aiohttp.ClientSession() as session:
        writer = Gateway(await asyncio.to_thread(deployment.address_of, "write"), KEY, session)
        reader = Gateway(await asyncio.to_thread(deployment.address_of, "read"), KEY, session)
        created = await writer.create()
        ran = await reader.call(EXECUTE, ExecuteRequest(command=["echo", "hi"]), sandbox_id=created.sandbox_id)
        assert ran.stdout == "hi\n"
        with pytest.raises(RouteNotFound, match="serves the read path alone"):
            await reader.call(STOP_SANDBOX, sandbox_id=created.sandbox_id)
        await writer.call(STOP_SANDBOX, sandbox_id=created.sandbox_id)


def _is_gateway(pid: int) -> bool:
    return b"rock-nomad" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1]
