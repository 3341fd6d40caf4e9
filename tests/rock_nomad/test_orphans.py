"""A create that is aborted at any step leaves nothing: no job that lives, no process, no directory, no mount."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock.wire.errors import RockException
from rock.wire.messages import CreateSandboxRequest
from rock.wire.operations import CREATE_SANDBOX
from rock_nomad.loopback.api import wait_until
from tests.cluster import Cluster
from tests.gateways import Gateway, small, start_gateway, start_gateway_process
from tests.rock.proxies import Saboteur, Spoiling, run_saboteur

pytestmark = pytest.mark.slow

Abort = Literal["client goes", "gateway is killed", "consul goes", "nomad fails"]

# A sandbox that nobody knows of ends by these clocks of its own.
CLOCKS: dict[str, Any] = {"idle_timeout": 1.0, "startup_timeout": 20.0}
_SETTLED = 90.0  # seconds


@contextlib.asynccontextmanager
async def _gateway(cluster: Cluster, abort: Abort, name: str) -> AsyncIterator[Gateway]:
    if abort == "gateway is killed":
        async with start_gateway_process(cluster, name=name) as gateway:
            yield gateway
    else:
        async with start_gateway(cluster, name=name, keep=True, sweep_interval=0.5) as gateway:
            yield gateway


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    abort=st.sampled_from(["client goes", "gateway is killed", "consul goes", "nomad fails"]),
    step=st.integers(1, 8),
    spoiling=st.sampled_from(["cut before", "cut after", "fail", "pass"]),
    lasts=st.booleans(),
    on_abandoned=st.sampled_from(["keep", "stop"]),
)
async def test_a_create_that_is_aborted_at_any_step_leaves_nothing(
    cluster: Cluster, abort: Abort, step: int, spoiling: Spoiling, lasts: bool, on_abandoned: Literal["keep", "stop"]
) -> None:
    name = f"t{secrets.token_hex(4)}"
    request = CreateSandboxRequest(spec=small(name, **CLOCKS), hold=5.0, on_abandoned=on_abandoned)
    async with run_saboteur(cluster.nomad_url) as nomad, run_saboteur(cluster.consul_url) as consul:
        between = replace(cluster, nomad_url=nomad.url, consul_url=consul.url)
        async with _gateway(between, abort, name) as gateway:
            create = asyncio.ensure_future(gateway.call(CREATE_SANDBOX, request))
            _arm(abort, create, gateway, nomad, consul)
            nomad.spoiling, nomad.lasts, nomad.left = spoiling, lasts and abort == "nomad fails", step
            with contextlib.suppress(RockException, aiohttp.ClientError, asyncio.CancelledError):
                await create
            nomad.lasts = consul.lasts = False
            await asyncio.to_thread(_wait_settled, cluster, name)
    await asyncio.to_thread(_check_nothing_is_left, cluster, name)


def _arm(abort: Abort, create: asyncio.Future[Any], gateway: Gateway, nomad: Saboteur, consul: Saboteur) -> None:
    """Say what the saboteur before Nomad does when it strikes."""

    def lose_consul() -> None:
        consul.spoiling, consul.lasts, consul.left = "cut before", True, 0

    if abort == "client goes":
        nomad.on_strike = create.cancel
    elif abort == "gateway is killed":
        assert gateway.process is not None
        nomad.on_strike = gateway.process.kill
    elif abort == "consul goes":
        nomad.on_strike = lose_consul


def _jobs(cluster: Cluster, sandbox_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = cluster.nomad("GET", f"/v1/jobs?prefix=sbx-{sandbox_id}").data
    return rows


def _wait_settled(cluster: Cluster, sandbox_id: str) -> None:
    """Wait until the sandbox's job, if there is one, has ended; whoever ends it."""
    if _jobs(cluster, sandbox_id):
        cluster.wait_for(f"/v1/job/sbx-{sandbox_id}", lambda job: job["Status"] == "dead", timeout=_SETTLED)


def _check_nothing_is_left(cluster: Cluster, sandbox_id: str) -> None:
    _wait_settled(cluster, sandbox_id)  # what was under way when the gateway ended has come by now
    ended = ("complete", "failed", "lost")
    path = f"/v1/job/sbx-{sandbox_id}/allocations"
    rows = cluster.wait_for(path, lambda rows: all(row["ClientStatus"] in ended for row in rows))
    assert len(rows) <= 1, rows
    assert list(_processes_of(sandbox_id)) == []
    cluster.nomad("DELETE", f"/v1/job/sbx-{sandbox_id}?purge=true")
    allocations = {row["ID"] for row in rows}
    if cluster.kind == "real":  # the embedded cluster keeps the last few directories until it ends
        for node in cluster.nodes:
            cluster.nomad("PUT", f"/v1/client/gc?node_id={node.node_id}")
        assert wait_until(lambda: not _are_on_disk(cluster, allocations), timeout=120)
    assert not any(each in Path("/proc/self/mounts").read_text() for each in allocations)


def _are_on_disk(cluster: Cluster, allocations: set[str]) -> bool:
    return any(allocations.intersection(folders) for _folder, folders, _files in os.walk(cluster.folder))


def _processes_of(sandbox_id: str) -> Iterator[Path]:
    """What runs in a sandbox, or for it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if f"ROCKLET_SANDBOX_ID={sandbox_id}\0".encode() in (process / "environ").read_bytes():
                yield process
