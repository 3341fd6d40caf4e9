"""Gateways in this process, over the clusters that all tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster import Cluster
from tests.gateways import Gateway, start_gateway


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
