"""A bundle that the nodes do not have: each sandbox fetches it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rock.wire.errors import RockException
from rock.wire.messages import CreateSessionRequest, ExecuteRequest, RunRequest, State
from rock.wire.operations import CREATE_SESSION, EXECUTE, GET_SANDBOX, RUN_IN_SESSION
from rock.wire.reasons import Reason
from rock_nomad.bundle.build import archive_bundle
from rock_nomad.loopback.settings import NodeSettings, Settings
from tests.bundles import need_bundle
from tests.cluster import Cluster, run_real_cluster
from tests.engine import Engine
from tests.gateways import start_gateway

pytestmark = pytest.mark.slow

_RUNC: dict[str, Any] = {"isolations": ["runc"], "default_isolation": "runc"}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def archive() -> Iterator[dict[str, str]]:
    """The profile's `rocklet_archive`, as long as it is served."""
    packed, digest = archive_bundle(need_bundle())
    handler = functools.partial(_Quiet, directory=str(packed.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield {"url": f"http://127.0.0.1:{server.server_port}/{packed.name}", "sha256": digest}
        server.shutdown()
        thread.join()


@pytest.mark.needs("artifacts")
async def test_a_sandbox_fetches_its_rocklet_where_the_node_has_none(
    cluster: Cluster, engine: Engine, archive: dict[str, str]
) -> None:
    async with start_gateway(cluster, **_RUNC, rocklet_archive=archive) as gateway:
        status = await gateway.create(image=engine.busybox, disk_bytes=2**28)
        assert status.state is State.RUNNING, status
        look = ExecuteRequest(command="ls /local/rocklet; test -e /opt/rocklet")
        ran = await gateway.call(EXECUTE, look, sandbox_id=status.sandbox_id)
        assert (ran.stdout, ran.exit_code) == ("MANIFEST.json\nbin\nlib\n", 1)


async def test_a_chroot_of_one_program_is_enough_for_exec(archive: dict[str, str]) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox")
    chroot = {os.path.realpath(busybox): "/bin/sh"}  # by default Nomad copies all of /usr for every sandbox
    exec_: dict[str, Any] = {"isolations": ["exec"], "default_isolation": "exec"}
    with run_real_cluster(Settings(nodes=(NodeSettings(client={"chroot_env": chroot}),))) as cluster:
        async with start_gateway(cluster, **exec_, rocklet_archive=archive) as gateway:
            status = await gateway.create(disk_bytes=2**28)
            assert status.state is State.RUNNING, status
            session = await gateway.call(CREATE_SESSION, CreateSessionRequest(), sandbox_id=status.sandbox_id)
            assert session.shell == "sh"
            run = RunRequest(command="cd /bin; echo *")
            assert (await gateway.call(RUN_IN_SESSION, run, sandbox_id=status.sandbox_id)).output == "sh\n"


@pytest.mark.needs("artifacts")
async def test_one_that_is_not_what_it_should_be_is_not_started(
    cluster: Cluster, engine: Engine, archive: dict[str, str]
) -> None:
    async with start_gateway(cluster, **_RUNC, rocklet_archive={**archive, "sha256": "0" * 64}) as gateway:
        with pytest.raises(RockException) as refusal:
            await gateway.create("forged", image=engine.busybox, disk_bytes=2**28)
        status = await gateway.call(GET_SANDBOX, sandbox_id="forged")
        assert status.reason is refusal.value.reason is Reason.DRIVER
        assert "failed to download artifact" in status.message
        assert archive["sha256"] in status.message  # which it got, instead of the one that it should be


async def test_the_embedded_cluster_says_that_it_fetches_nothing(embedded: Cluster, archive: dict[str, str]) -> None:
    async with start_gateway(embedded, **_RUNC, rocklet_archive=archive) as gateway:
        with pytest.raises(RockException, match="Artifacts"):
            await gateway.create(image="x")
