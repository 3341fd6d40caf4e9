"""The clusters these tests run against: the embedded one, and the real one where this machine has it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import KINDS, Cluster, run_cluster

_numbers = itertools.count()


@pytest.fixture(scope="session")
def embedded() -> Iterator[Cluster]:
    """An embedded cluster with simulated GPUs."""
    with run_cluster("embedded", "--simulate-gpus", "NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1") as cluster:
        yield cluster


@pytest.fixture(scope="session", params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Each kind of cluster in turn; skips with the reason where there is none."""
    with run_cluster(request.param) as cluster:
        yield cluster


@pytest.fixture
def new_id() -> Callable[[str], str]:
    """Job ids that no other test of this run uses."""
    return lambda name: f"{name}-{next(_numbers)}"
