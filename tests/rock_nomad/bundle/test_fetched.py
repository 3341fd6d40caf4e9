"""A bundle that the nodes do not have: each sandbox fetches it."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rock.wire.errors import RockException
from rock.wire.messages import ExecuteRequest, State
from rock.wire.operations import EXECUTE, GET_SANDBOX
from rock.wire.reasons import Reason
from rock_nomad.bundle.build import archive_bundle
from tests.bundles import need_bundle
from tests.cluster import Cluster
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


