from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from rock.wire.errors import ClusterUnavailable
from rock_nomad.cli.local_clusters import run_embedded, run_real
from rock_nomad.loopback.api import Api
from tests.cluster import missing_parts
from tests.processes import pids_naming

pytestmark = pytest.mark.slow

needs_real = pytest.mark.skipif(missing_parts("real") is not None, reason=missing_parts("real") or "")


async def test_the_embedded_cluster_ends_with_its_block(tmp_path: Path) -> None:
    async with run_embedded(tmp_path, None) as cluster:
        assert cluster.title.startswith("the embedded cluster, node ")
        token_file = Path(cluster.nomad["token_file"])
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        nomad = Api(cluster.nomad["url"], "X-Nomad-Token", token_file.read_text())
        assert nomad.call("GET", "/v1/jobs").status == 200
    assert not pids_naming(str(tmp_path))


async def test_a_cluster_that_cannot_start_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailable, match="did not start: exit code 1"):
        async with run_embedded(tmp_path, "no such syntax: at all"):
            pass


@needs_real
async def test_real_servers_ask_the_gateway_for_tokens_of_its_own(tmp_path: Path) -> None:
    async with run_real(tmp_path, 1, "NVIDIA A10G:1") as cluster:
        token = Path(cluster.nomad["token_file"]).read_text()
        assert token != cluster.variables["NOMAD_TOKEN"]
        nodes = Api(cluster.nomad["url"], "X-Nomad-Token", token).call("GET", "/v1/nodes?resources=true")
        [devices] = nodes.data[0]["NodeResources"]["Devices"]
        assert devices["Name"] == "NVIDIA A10G"


@needs_real
async def test_real_servers_that_are_given_up_while_they_start_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # which every agent inherits
    async with asyncio.timeout(60):
        starting = asyncio.ensure_future(run_real(tmp_path, 1, None).__aenter__())
        while len(pids_naming(str(tmp_path))) < 3:  # noqa: ASYNC110 - children of a child can only be looked for
            await asyncio.sleep(0.02)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert not pids_naming(str(tmp_path))
