"""Gateways over a cluster of each kind that this machine can run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.cluster import KINDS, Cluster, run_cluster
from tests.gateways import Gateway, start_gateway


@pytest.fixture(scope="session", params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of each kind in turn, for what must hold on all; skips with the reason where there is none."""
    with run_cluster(request.param) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def embedded() -> Iterator[Cluster]:
    """The embedded cluster, for tests of what no kind of cluster decides."""
    with run_cluster("embedded", "--simulate-gpus", "NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1") as cluster:
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
