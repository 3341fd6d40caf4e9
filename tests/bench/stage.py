"""All that is measured, running side by side: the floors, a cluster with a sandbox, and the peers if asked for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from rock.actions import CreateBashSessionRequest
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
from tests.gateways import start_gateway_process
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
        cluster = stack.enter_context(run_cluster("embedded"))
        served = await stack.enter_async_context(start_gateway_process(cluster))
        url = served.url.replace("://", f"://x:{served.key}@")
        config = SandboxConfig(base_url=url, cpus=0.5, memory="512m", disk="256m")
        sandbox = await stack.enter_async_context(Sandbox(config))
        sandbox_id = str(sandbox.sandbox_id)
        endpoint = await served.call(op.RESOLVE_ROCKLET, sandbox_id=sandbox_id)
        rocklet = Server(http=http, url=endpoint.url, token=endpoint.token)
        pid = int((await rocklet.ask(op.EXECUTE, m.ExecuteRequest(command="echo $PPID"))).stdout)
        assert served.process is not None
        pids = {"bare": (bare.pid,), "proxy": (proxy.pid, bare.pid), "direct": (pid,), "SDK": (pid,)}
        pids["gateway"] = (served.process.pid, pid)
        programs = [bare_program, *_rocklet_programs(http)]
        peers: dict[str, Peer] = {}
        for program in peer_programs(http) if with_peers else []:
            running = await stack.enter_async_context(program.start())
            programs.append(program)
            peers[program.name] = Peer(http, running.url)
            pids[program.name] = (running.pid,)
        for number in range(sessions):
            await sandbox.create_session(CreateBashSessionRequest(session=session_name(number)))
            for peer in peers.values():
                await peer.create(session_name(number))
        pty = BarePty()
        stack.callback(pty.close)
        yield Stage(
            http=http,
            pty=pty,
            bare=bare,
            proxy=proxy,
            rocklet=rocklet,
            gateway=Server(http=http, url=served.url, token=served.key, sandbox_id=sandbox_id),
            sandbox=sandbox,
            peers=peers,
            programs=programs,
            sessions=sessions,
            pids=pids,
        )


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
