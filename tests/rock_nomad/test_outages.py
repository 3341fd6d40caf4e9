"""What goes on while a part of the control plane is away: every gateway, Nomad's server, Consul."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rock.wire.codec import encode
from rock.wire.errors import ClusterUnavailable
from rock.wire.messages import ExecuteRequest, GetSandboxRequest, RockletEndpoint, SandboxStatus, State
from rock.wire.operations import EXECUTE, GET_SANDBOX, LIST_SANDBOXES, STOP_SANDBOX
from rock.wire.reasons import Reason
from tests.cluster import Agent, Cluster
from tests.gateways import Gateway, start_gateway, start_gateway_process, wait_until_listed

pytestmark = pytest.mark.slow

MANY = 10
SMALL: dict[str, Any] = {"cpus": 0.01, "memory_bytes": 48 * 2**20}


def _name() -> str:
    return f"t{secrets.token_hex(4)}"


async def _run_directly(endpoint: RockletEndpoint, command: str) -> str:
    """What a command prints that is sent to the rocklet itself."""
    headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
    request = encode(ExecuteRequest(command=["sh", "-c", command]))
    async with (
        aiohttp.ClientSession() as session,
        session.post(endpoint.url + EXECUTE.path, data=request, headers=headers) as reply,
    ):
        printed: str = (await reply.json())["stdout"]
        return printed


async def _wait_ready(gateway: Gateway, sandbox: SandboxStatus) -> SandboxStatus:
    async with asyncio.timeout(120):
        while sandbox.state is State.PENDING:
            sandbox = await gateway.call(GET_SANDBOX, GetSandboxRequest(hold=20), sandbox_id=sandbox.sandbox_id)
    assert sandbox.state is State.RUNNING
    return sandbox


async def _create_many(cluster: Cluster, gateway: Gateway) -> list[SandboxStatus]:
    async with asyncio.TaskGroup() as tasks:
        creates = [tasks.create_task(gateway.create(**SMALL)) for _ in range(MANY)]
    created = [await _wait_ready(gateway, create.result()) for create in creates]
    for each in created:
        await wait_until_listed(cluster, each.sandbox_id)
    return created


@contextlib.asynccontextmanager
async def _busy(sandboxes: list[SandboxStatus], folder: Path) -> AsyncIterator[None]:
    """A command in each sandbox, by the direct path, that has begun before the block and ends well after it."""
    commands = []
    async with asyncio.TaskGroup() as tasks:
        for number, each in enumerate(sandboxes):
            begun, end = folder / f"begun{number}", folder / f"end{number}"
            os.mkfifo(begun)
            os.mkfifo(end)
            assert each.rocklet is not None
            commands.append(tasks.create_task(_run_directly(each.rocklet, f"echo > {begun}; cat {end}")))
            await asyncio.to_thread(begun.read_text)
        yield
        for number in range(len(sandboxes)):
            await asyncio.to_thread((folder / f"end{number}").write_text, f"done {number}")
    assert [command.result() for command in commands] == [f"done {number}" for number in range(len(sandboxes))]


@contextlib.contextmanager
def _without(agent: Agent) -> Iterator[None]:
    """Without one of the real agents, as after a power cut, until the block ends."""
    agent.kill()
    try:
        yield
    finally:
        agent.start()


async def test_commands_outlive_all_gateways_killed_at_once_and_a_new_one_knows_every_sandbox_at_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    name = _name()
    async with start_gateway_process(cluster, name=name) as one, start_gateway_process(cluster, name=name) as other:
        created = await _create_many(cluster, one)
        stopped = await other.create(**SMALL)
        await other.call(STOP_SANDBOX, sandbox_id=stopped.sandbox_id)
        queued = await one.create(cpus=0.99 * one.cpus, hold=0)
        async with _busy(created, tmp_path):
            for gateway in (one, other):
                assert gateway.process is not None
                gateway.process.kill()
                assert await gateway.process.wait() == -signal.SIGKILL
    async with start_gateway(cluster, name=name) as fresh:
        listed = {each.sandbox_id: each for each in (await fresh.call(LIST_SANDBOXES)).sandboxes}
        assert {each: listed[each].state for each in listed} == {
            **{each.sandbox_id: State.RUNNING for each in created},
            stopped.sandbox_id: State.STOPPED,
            queued.sandbox_id: State.PENDING,
        }
        assert {listed[each.sandbox_id].alloc_id for each in created} == {each.alloc_id for each in created}
        assert listed[stopped.sandbox_id].reason is Reason.USER


@pytest.mark.needs("a server to restart")
async def test_commands_and_actions_outlive_nomads_server_and_afterwards_every_sandbox_is_there(
    frail: Cluster, tmp_path: Path
) -> None:
    async with start_gateway(frail) as gateway:
        created = await _create_many(frail, gateway)
        async with _busy(created, tmp_path):
            with _without(frail.server):
                assert await _echo(gateway, created[0]) == "on\n"
                for call in (gateway.call(LIST_SANDBOXES), gateway.create(**SMALL)):
                    with pytest.raises(ClusterUnavailable):
                        await call
            listed = (await gateway.call(LIST_SANDBOXES)).sandboxes
            assert {(each.sandbox_id, each.alloc_id, each.state) for each in listed} == {
                (each.sandbox_id, each.alloc_id, State.RUNNING) for each in created
            }
        assert await _echo(gateway, await gateway.create(**SMALL)) == "on\n"


@pytest.mark.needs("a Consul to stop")
@pytest.mark.parametrize("with_nodes", [False, True], ids=["servers", "servers and nodes"])
async def test_while_consul_is_away_known_sandboxes_work_and_new_ones_say_what_they_wait_for(
    frail: Cluster, with_nodes: bool
) -> None:
    agents = [*(node.consul for node in frail.nodes if with_nodes), frail.consul_server]  # the last is started first
    async with start_gateway(frail) as gateway:
        known = await gateway.create(**SMALL)
        with contextlib.ExitStack() as away:
            for agent in agents:
                away.enter_context(_without(agent))
            assert await _echo(gateway, known) == "on\n"
            seen = await gateway.call(GET_SANDBOX, sandbox_id=known.sandbox_id)
            assert (seen.state, seen.rocklet) == (State.RUNNING, known.rocklet)
            new = await gateway.create(**SMALL, hold=3.0)
            assert new.state is State.PENDING
            assert new.message.startswith(f"rocklet: consul does not answer at {frail.consul_url}"), new
            with pytest.raises(ClusterUnavailable, match="consul does not answer"):
                await _echo(gateway, new)
        assert await _echo(gateway, await _wait_ready(gateway, new)) == "on\n"


@pytest.mark.needs("ACLs")
async def test_a_gateway_whose_tokens_are_no_more_says_which_and_goes_on_with_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    files = {name: tmp_path / name for name in ("nomad", "consul")}
    revoke = {name: _new_token(cluster, name, file) for name, file in files.items()}
    settings = {name: {"token_file": str(file)} for name, file in files.items()}
    async with start_gateway(cluster, settings=settings) as gateway:
        known = await _wait_ready(gateway, await gateway.create(**SMALL))
        revoke["nomad"]()  # as Nomad and Consul do with one that expires, after a minute at least
        with pytest.raises(ClusterUnavailable, match=r"nomad at .* give the gateway one that has not expired"):
            await gateway.call(LIST_SANDBOXES)
        assert await _echo(gateway, known) == "on\n"
        _new_token(cluster, "nomad", files["nomad"])
        revoke["consul"]()
        new = await gateway.create(**SMALL, hold=0)
        while "consul" not in (new := await gateway.call(GET_SANDBOX, sandbox_id=new.sandbox_id)).message:
            assert new.state is State.PENDING
            await gateway.call(GET_SANDBOX, GetSandboxRequest(hold=1), sandbox_id=new.sandbox_id)
        assert "refuses the gateway's token: ACL not found; give the gateway another" in new.message
        _new_token(cluster, "consul", files["consul"])
        assert await _echo(gateway, await _wait_ready(gateway, new)) == "on\n"


def _new_token(cluster: Cluster, name: str, file: Path) -> Callable[[], object]:
    """Put a token of a gateway's rights into a file; what takes the token from whoever has read it."""
    call = getattr(cluster, name)
    wanted = {"Name": "of a test", "Type": "client", "Policies": ["rock-gateway"]}
    made = call("PUT", "/v1/acl/token", wanted if name == "nomad" else {"Policies": [{"Name": "rock-gateway"}]}).data
    aside = file.with_suffix(".partial")
    aside.write_text(made["SecretID"])
    aside.replace(file)
    return partial(call, "DELETE", f"/v1/acl/token/{made['AccessorID']}")


async def _echo(gateway: Gateway, sandbox: SandboxStatus) -> str:
    ran = await gateway.call(EXECUTE, ExecuteRequest(command=["echo", "on"]), sandbox_id=sandbox.sandbox_id)
    return ran.stdout
