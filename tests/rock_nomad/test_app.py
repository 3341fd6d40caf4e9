import asyncio
import contextlib
import os
import secrets
from pathlib import Path

import aiohttp
import pytest

from rock.wire.codec import encode
from rock.wire.errors import ClusterUnavailable, SandboxDied, SandboxEnded
from rock.wire.messages import RunRequest
from rock.wire.operations import (
    CREATE_SESSION,
    GET_SANDBOX,
    LIST_SANDBOXES,
    REQUEST_ID_HEADER,
    RUN_IN_SESSION,
    STOP_SANDBOX,
)
from rock.wire.reasons import Reason
from rock_nomad.app import open_gateway, serve_gateway
from rock_nomad.config import ConfigError, load_gateway_config
from tests.cluster import Cluster, run_cluster
from tests.gateways import Gateway, start_gateway, start_gateway_process, write_config

pytestmark = pytest.mark.slow


def _name() -> str:
    return f"t{secrets.token_hex(4)}"


async def test_two_replicas_serve_the_same_sandboxes(embedded: Cluster) -> None:
    name = _name()
    async with start_gateway(embedded, name=name) as one, start_gateway(embedded, name=name) as two:
        created, again = await asyncio.gather(one.create("both"), two.create("both"))
        assert created.alloc_id == again.alloc_id
        await one.call(CREATE_SESSION, sandbox_id="both")
        seen = await two.call(RUN_IN_SESSION, RunRequest(command="echo hi"), sandbox_id="both")
        assert seen.output == "hi\n"


async def test_a_call_that_was_cut_and_sent_again_under_its_id_runs_once(gateway: Gateway, tmp_path: Path) -> None:
    counter, begun = tmp_path / "counter", _fifo(tmp_path)
    created = await gateway.create()
    await gateway.call(CREATE_SESSION, sandbox_id=created.sandbox_id)
    request = RunRequest(command=f"echo once >> {counter}; echo > {begun}; read -t 0.5 x; echo done")
    once = {REQUEST_ID_HEADER: _name()}
    body = encode(request)
    host, port = gateway.url.removeprefix("http://").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/sandboxes/{created.sandbox_id}/sessions/run HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {gateway.key}\r\n{REQUEST_ID_HEADER}: {once[REQUEST_ID_HEADER]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    await asyncio.to_thread(begun.read_text)
    writer.transport.abort()
    for _ in range(2):
        seen = await gateway.call(RUN_IN_SESSION, request, sandbox_id=created.sandbox_id, headers=once)
        assert seen.output == "done\n"
    assert counter.read_text() == "once\n"


def _fifo(folder: Path) -> Path:
    """A pipe by which a command in a sandbox says that it has begun."""
    path = folder / "begun"
    os.mkfifo(path)
    return path


async def test_when_the_rocklet_dies_under_a_call_the_caller_is_told_how_and_that_its_outcome_is_unknown(
    gateway: Gateway,
) -> None:
    created = await gateway.create()
    await gateway.call(CREATE_SESSION, sandbox_id=created.sandbox_id)
    for command, executed in (("kill -9 $PPID", "unknown"), ("true", "no")):
        with pytest.raises(SandboxDied) as caught:
            await gateway.call(RUN_IN_SESSION, RunRequest(command=command), sandbox_id=created.sandbox_id)
        assert (caught.value.reason, caught.value.details["executed"]) == (Reason.EXITED, executed)


async def test_a_lifetime_that_ends_under_a_command_is_why_it_has_no_answer(gateway: Gateway) -> None:
    created = await gateway.create(max_lifetime=2.0)
    await gateway.call(CREATE_SESSION, sandbox_id=created.sandbox_id)
    with pytest.raises(SandboxEnded) as caught:
        await gateway.call(RUN_IN_SESSION, RunRequest(command="sleep 60"), sandbox_id=created.sandbox_id)
    assert caught.value.reason is Reason.MAX_LIFETIME


async def test_a_client_that_goes_away_ends_its_command(gateway: Gateway, tmp_path: Path) -> None:
    begun = _fifo(tmp_path)
    created = await gateway.create()
    await gateway.call(CREATE_SESSION, sandbox_id=created.sandbox_id)
    async with asyncio.TaskGroup() as tasks:
        request = RunRequest(command=f"echo > {begun}; sleep 600")
        call = tasks.create_task(gateway.call(RUN_IN_SESSION, request, sandbox_id=created.sandbox_id))
        await asyncio.to_thread(begun.read_text)
        call.cancel()
    async with asyncio.timeout(60):
        seen = await gateway.call(RUN_IN_SESSION, RunRequest(command="echo free"), sandbox_id=created.sandbox_id)
    assert seen.output == "free\n"


async def test_an_open_gateway_listens_on_loopback_only(embedded: Cluster, tmp_path: Path) -> None:
    config = load_gateway_config(write_config(tmp_path, embedded))
    with pytest.raises(ConfigError, match="loopback"):
        async with open_gateway(config.model_copy(update={"open": True, "host": "0.0.0.0"})):
            pass
    async with (
        serve_gateway(config.model_copy(update={"open": True})) as url,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{url}/v1/sandboxes") as reply:
            assert reply.status == 200
        async with session.get(f"{url}/v1/sandboxes", headers={"Origin": "http://x.example"}) as reply:
            assert reply.status == 403


async def test_a_gateway_that_is_told_to_stop_stops(embedded: Cluster) -> None:
    async with start_gateway_process(embedded) as gateway:
        assert gateway.process is not None
        gateway.process.terminate()
        assert await asyncio.wait_for(gateway.process.wait(), 10) == 0


async def test_what_goes_wrong_beside_a_gateway_is_raised_as_itself(embedded: Cluster) -> None:
    with pytest.raises(LookupError):
        async with start_gateway(embedded):
            raise LookupError


async def test_a_gateway_whose_cluster_is_gone_says_so_and_lives_on() -> None:
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(run_cluster("embedded"))
        async with start_gateway(cluster, keep=True, sweep_interval=0.05) as gateway:
            created = await gateway.create(isolation="mock")
            stack.close()
            for call in (
                gateway.call(GET_SANDBOX, sandbox_id=created.sandbox_id),
                gateway.call(STOP_SANDBOX, sandbox_id=created.sandbox_id),
                gateway.call(RUN_IN_SESSION, RunRequest(command="true"), sandbox_id=created.sandbox_id),
                gateway.call(LIST_SANDBOXES),
            ):
                with pytest.raises(ClusterUnavailable):
                    await call
