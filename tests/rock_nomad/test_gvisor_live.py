"""Sandboxes in gVisor, whole, on an engine of our own that has it as a runtime."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from rock.wire.errors import RockException
from rock.wire.messages import CreateSessionRequest, ExecuteRequest, RunRequest, State
from rock.wire.operations import CREATE_SESSION, EXECUTE, RUN_IN_SESSION
from tests.bundles import need_bundle
from tests.cluster import Cluster, run_cluster
from tests.engine import Engine, open_engine, run_engine
from tests.gateways import start_gateway

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    program = shutil.which("runsc")
    if program is None:
        pytest.skip("no runsc on PATH")
    # Its own network stack takes every network namespace for the node's on newer kernels, if it is as old as Debian's.
    with run_engine({"runsc": {"path": program, "runtimeArgs": ["--network=host"]}}) as host:
        yield host


@pytest.fixture(scope="module")
def gvisor_engine(host: str) -> Iterator[Engine]:
    with open_engine(host) as engine:
        yield engine


@pytest.fixture(scope="module")
def gvisor_cluster(host: str) -> Iterator[Cluster]:
    with run_cluster("embedded", "--docker-host", host, bundle=need_bundle()) as cluster:
        yield cluster


async def test_a_sandbox_has_gvisors_kernel_and_all_that_others_have(
    gvisor_cluster: Cluster, gvisor_engine: Engine
) -> None:
    async with start_gateway(gvisor_cluster, isolations=["gvisor", "runc"], default_isolation="gvisor") as gateway:
        created = await gateway.create(image=gvisor_engine.python, cpus=0.2, memory_bytes=256 * 2**20)
        assert created.state is State.RUNNING, created
        sandbox_id = created.sandbox_id
        ran = await gateway.call(
            EXECUTE, ExecuteRequest(command=["/usr/bin/cat", "/proc/version"]), sandbox_id=sandbox_id
        )
        assert ran.stdout.startswith("Linux version 4.4.0")
        await gateway.call(CREATE_SESSION, CreateSessionRequest(session="work"), sandbox_id=sandbox_id)
        asked = RunRequest(command="echo $((6 * 7))", session="work")
        said = await gateway.call(RUN_IN_SESSION, asked, sandbox_id=sandbox_id)
        assert (said.output.strip(), said.exit_code) == ("42", 0)


async def test_it_cannot_be_given_gpus(gvisor_cluster: Cluster) -> None:
    async with start_gateway(gvisor_cluster, isolations=["gvisor"], default_isolation="gvisor") as gateway:
        with pytest.raises(RockException, match="gvisor, which cannot be given devices"):
            await gateway.create(gpus=1)
