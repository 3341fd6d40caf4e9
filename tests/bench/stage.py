"""All that is measured, running side by side: the floors, a cluster with a sandbox, and the peers if asked for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig
from rock.wire import messages as m
from rock.wire import operations as op
from rock_nomad.bench.calls import Server
from rock_nomad.bundle import bundle_command
from tests.bench.floors import BarePty
from tests.bench.peers import Peer, peer_programs
from tests.bench.programs import Program, Running
from tests.bundles import find_bundle
from tests.cluster import run_cluster
from tests.gateways import Gateway, start_gateway_process
from tests.rocklets import TOKEN, rocklet_environment

__all__ = ["Stage", "open_stage", "session_name"]

_SESSIONS = 32


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Whom a case may call."""

    http: aiohttp.ClientSession
    pty: BarePty
    bare: Running
    proxy: Running
    """A bare one, in front of the bare server."""
    rocklet: Server
    gateway: Server
    sandbox: Sandbox
    peers: dict[str, Peer]
    programs: list[Program]
    """What can be started anew; the bare server first, then rocklets, then peers."""
    sessions: int
    """How many each server has, named by `session_name`."""
    pids: dict[str, tuple[int, ...]]
    """By who serves: the processes whose work a call of it is."""


def session_name(number: int) -> str:
    """A session that exists at every server."""
    return f"bench-{number}"


@contextlib.asynccontextmanager
async def open_stage(*, sessions: int = _SESSIONS, with_peers: bool = False) -> AsyncIterator[Stage]:
    """Everything, on the embedded cluster, until the block ends."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        bare_program = _bare_program(http)
        bare = await stack.enter_async_context(bare_program.start())
        proxy = await stack.enter_async_context(_bare_program(http, bare.url).start())
        gateway = await stack.enter_async_context(start_gateway_process(stack.enter_context(run_cluster("embedded"))))
        sandbox = await stack.enter_async_context(Sandbox(_config(gateway)))
        rocklet, pid = await _find_rocklet(http, gateway, str(sandbox.sandbox_id))
        peers = peer_programs(http) if with_peers else []
        running = {peer.name: await stack.enter_async_context(peer.start()) for peer in peers}
        assert gateway.process is not None
        stage = Stage(
            http=http,
            pty=stack.enter_context(contextlib.closing(BarePty())),
            bare=bare,
            proxy=proxy,
            rocklet=rocklet,
            gateway=Server(http=http, url=gateway.url, token=gateway.key, sandbox_id=sandbox.sandbox_id),
            sandbox=sandbox,
            peers={name: Peer(http, peer.url) for name, peer in running.items()},
            programs=[bare_program, *_rocklet_programs(http), *peers],
            sessions=sessions,
            pids={
                "bare": (bare.pid,),
                "proxy": (proxy.pid, bare.pid),
                "direct": (pid,),
                "SDK": (pid,),
                "gateway": (gateway.process.pid, pid),
                **{name: (peer.pid,) for name, peer in running.items()},
            },
        )
        await _create_sessions(stage)
        yield stage


def _config(gateway: Gateway) -> SandboxConfig:
    url = gateway.url.replace("://", f"://x:{gateway.key}@")
    return SandboxConfig(base_url=url, cpus=0.5, memory="512m", disk="256m")


async def _find_rocklet(http: aiohttp.ClientSession, gateway: Gateway, sandbox_id: str) -> tuple[Server, int]:
    """The rocklet of a sandbox, and its process."""
    endpoint = await gateway.call(op.RESOLVE_ROCKLET, sandbox_id=sandbox_id)
    rocklet = Server(http=http, url=endpoint.url, token=endpoint.token)
    return rocklet, int((await rocklet.ask(op.EXECUTE, m.ExecuteRequest(command="echo $PPID"))).stdout)


async def _create_sessions(stage: Stage) -> None:
    for number in range(stage.sessions):
        await stage.rocklet.ask(op.CREATE_SESSION, m.CreateSessionRequest(session=session_name(number)))
        for peer in stage.peers.values():
            await peer.create(session_name(number))


def _bare_program(http: aiohttp.ClientSession, *backend: str) -> Program:
    async def first_command(url: str) -> None:
        async with http.post(f"{url}/run?session=0", data=b"echo hi") as response:
            assert await response.read() == b"hi\n"

    command = [sys.executable, "-m", "tests.bench.floors", *backend]
    return Program(name="bare", command=command, first_command=first_command)


def _rocklet_programs(http: aiohttp.ClientSession) -> list[Program]:
    async def first_command(url: str) -> None:
        rocklet = Server(http=http, url=url, token=TOKEN)
        await rocklet.ask(op.CREATE_SESSION, m.CreateSessionRequest())
        ran = await rocklet.ask(op.RUN_IN_SESSION, m.RunRequest(command="echo hi"))
        assert ran.output == "hi\n"

    commands = {"rocklet": [sys.executable, "-m", "rocklet"]}
    bundle = find_bundle()
    if bundle is not None:
        commands["bundle"] = [*bundle_command(str(bundle))]
    return [
        Program(
            name=name,
            command=[*command, "--host", "127.0.0.1"],
            first_command=first_command,
            environment=rocklet_environment(),
        )
        for name, command in commands.items()
    ]
