"""What every test shares: the clusters, and the line that says which real parts this run had."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests.needs import needs_of, shapes_for

if TYPE_CHECKING:
    from tests.cluster import Cluster
    from tests.engine import Engine, Registry

# On a busy machine, drawing an example may take seconds; that says nothing about what is tested.
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("here")

REAL_PARTS = {
    "docker": ["version", "--format", "{{.Server.Version}}"],  # the engine's, if one answers
    "consul": ["version"],
    "nomad": ["version"],
}
"""Executables whose presence decides what runs for real, and how each is asked for its version."""

_NEEDS = "needs"
"""The property of a test's report that says what of real servers it needs: reports travel from process to process."""


def pytest_configure() -> None:
    """Take SIGINT as Python does; a shell that runs us in the background has us and our children ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _version(name: str) -> str | None:
    """A real part's version, or None where the machine does not have it."""
    executable = os.environ.get(f"{name.upper()}_BIN") or shutil.which(name)
    if executable is None:
        return None
    said = subprocess.run([executable, *REAL_PARTS[name]], capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout)
    return found[0] if found else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End with a line that says what was real, and one of what the embedded cluster could not show."""
    versions = {name: _version(name) for name in REAL_PARTS}
    had = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    lacked = ", ".join(name for name, version in versions.items() if not version)
    absent = f" (not on this machine: {lacked})" if lacked else ""
    terminalreporter.write_line(f"real parts: {had or 'none'}{absent}")
    if terminalreporter.config.getoption("lf", default=False):
        return  # a second look at some tests has no such counts
    if lacking := _beyond_embedded(itertools.chain.from_iterable(terminalreporter.stats.values())):
        counts = ", ".join(f"{need} {count}" for need, count in lacking.most_common())
        terminalreporter.write_line(f"embedded could not run {lacking.total()}: {counts}")


def _beyond_embedded(reports: Iterable[object]) -> Counter[str]:
    """What the embedded cluster lacks for the tests that are reported on, and for how many of them."""
    tests = {each.nodeid: dict(each.user_properties) for each in reports if isinstance(each, pytest.TestReport)}
    return Counter(str(properties[_NEEDS]) for properties in tests.values() if _NEEDS in properties)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail what was skipped although ROCK_REQUIRE_REAL names the part that it lacked."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's result, untyped in a hookwrapper
    required = os.environ.get("ROCK_REQUIRE_REAL", "").split(",")
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if any(name and f"no {name}" in reason for name in required):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: {reason}, but this run must have it"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a cluster on each kind that can be what it needs."""
    if "cluster" in metafunc.fixturenames:
        shapes = shapes_for(metafunc.definition)
        metafunc.parametrize("cluster", shapes, ids=str, indirect=True, scope="session")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note what only real servers can show, and skip it where there are none."""
    if needs := needs_of(item):
        from tests.cluster import missing_parts  # the client's own tests run without a control plane

        item.user_properties.append((_NEEDS, needs))
        if (reason := missing_parts("real")) is not None:
            pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of each kind in turn, for what must hold on all; skips with the reason where there is none."""
    from tests.bundles import find_bundle  # likewise
    from tests.cluster import run_cluster

    with run_cluster(request.param.kind, nodes=request.param.nodes, bundle=find_bundle()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def embedded() -> Iterator[Cluster]:
    """The embedded cluster, for tests of what no kind of cluster decides."""
    from tests.cluster import run_cluster  # likewise

    with run_cluster("embedded", "--simulate-gpus", "NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The Docker engine, with images of our own; skips with the reason where none answers."""
    from tests.engine import open_engine  # the client's own tests run without Docker's SDK

    with open_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def registry(engine: Engine) -> Iterator[Registry]:
    """A private registry that the engine can pull from."""
    from tests.engine import serve_registry  # likewise

    with serve_registry(engine) as registry:
        yield registry
