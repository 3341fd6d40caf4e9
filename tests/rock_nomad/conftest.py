"""Gateways in this process, over the clusters that all tests share, and a certificate."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rock_nomad.loopback.settings import NodeSettings, Settings
from tests.cluster import Cluster, run_real_cluster
from tests.gateways import Gateway, start_gateway
from tests.gpus import Gpus, run_gpu_cluster
from tests.needs import KINDS


@pytest.fixture(scope="session")
def frail() -> Iterator[Cluster]:
    """Real servers and two nodes to be broken by tests, which mend them; a node is missed after two seconds."""
    server = {"heartbeat_grace": "1s", "min_heartbeat_ttl": "1s", "max_heartbeats_per_second": 1000.0}
    with run_real_cluster(Settings(nodes=(NodeSettings(), NodeSettings()), server=server)) as cluster:
        yield cluster


@pytest.fixture
async def gateway(cluster: Cluster) -> AsyncIterator[Gateway]:
    """A gateway over a cluster of each kind; its sandboxes end with the test."""
    async with start_gateway(cluster) as gateway:
        yield gateway


@pytest.fixture
async def embedded_gateway(embedded: Cluster) -> AsyncIterator[Gateway]:
    """A gateway over the embedded cluster; its sandboxes end with the test."""
    async with start_gateway(embedded) as gateway:
        yield gateway


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own CA, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    path = tmp_path / "agent.pem"
    subject = ["-subj", "/CN=agent", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make = ["openssl", "req", "-x509", "-days", "1", *key]
    subprocess.run([*make, *subject, "-keyout", path, "-out", tmp_path / "cert"], check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "cert").read_text())
    return path


@pytest.fixture(scope="session", params=KINDS)
def shared_gpus(request: pytest.FixtureRequest) -> Iterator[Gpus]:
    """A cluster of each kind with GPUs."""
    with run_gpu_cluster(request.param) as gpus:
        yield gpus


@pytest.fixture
def gpus(shared_gpus: Gpus) -> Iterator[Gpus]:
    """The same; what a test has made sick is well after it."""
    yield shared_gpus
    shared_gpus.make_sick()
