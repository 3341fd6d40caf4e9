"""How long a container takes to answer: a sandbox, against `docker run` of a bare web server on the same image."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp

from rock.wire.messages import State
from rock.wire.operations import STOP_SANDBOX
from tests.bundles import need_bundle
from tests.cluster import missing_parts, run_cluster
from tests.engine import Engine, open_engine
from tests.gateways import Gateway, start_gateway
from tests.needs import KINDS

__all__ = ["AT_ONCE", "measure_containers"]

AT_ONCE = 8

_ROUNDS = 7
# Of each, the bare ones, too, because on a busy machine its share decides how soon anything answers: by itself what
# `docker run` gives, and what many fit with on two CPUs.
_CPUS_ALONE, _CPUS_IN_CROWD = 1.0, 0.24
_LOOK_INTERVAL = 0.005  # seconds between tries of a server that starts and tells nobody

Start = Callable[[float], Awaitable[float]]
"""Starts one with so many CPUs, waits for its answer, ends it; how many seconds the answer took."""


async def measure_containers() -> dict[str, tuple[float, float]]:
    """By what was started: the medians of the seconds to an answer, one at a time and several at once.

    In turns, so that all have the same machine.
    """
    async with contextlib.AsyncExitStack() as stack:
        engine = stack.enter_context(open_engine())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        starts: dict[str, Start] = {"docker run": partial(_start_bare, engine, http)}
        for kind in KINDS:
            if missing_parts(kind) is None:
                cluster = stack.enter_context(run_cluster(kind, bundle=need_bundle()))
                gateway = await stack.enter_async_context(start_gateway(cluster, default_isolation="runc"))
                starts[kind] = partial(_start_sandbox, engine, gateway)
        for start in starts.values():
            await start(_CPUS_ALONE)  # what is done once is not counted
        alone: dict[str, list[float]] = {name: [] for name in starts}
        for _ in range(_ROUNDS):
            for name, start in starts.items():
                alone[name].append(await start(_CPUS_ALONE))
        crowds = {
            name: await asyncio.gather(*(start(_CPUS_IN_CROWD) for _ in range(AT_ONCE)))
            for name, start in starts.items()
        }
        return {name: (statistics.median(alone[name]), statistics.median(crowds[name])) for name in starts}


async def _start_bare(engine: Engine, http: aiohttp.ClientSession, cpus: float) -> float:
    began = time.perf_counter()
    options = ["--init", f"--label=rock-nomad-tests={engine.run}", f"--cpu-shares={cpus * 1000:.0f}"]
    command = ["docker", "run", "--detach", *options, "--publish=127.0.0.1::80", engine.busybox]
    container = await _output(*command, "httpd", "-f", "-p", "80")
    address = (await _output("docker", "port", container, "80/tcp")).splitlines()[0]
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get(f"http://{address}/"):
                break
        await asyncio.sleep(_LOOK_INTERVAL)
    took = time.perf_counter() - began
    await _output("docker", "rm", "--force", container)
    return took


async def _start_sandbox(engine: Engine, gateway: Gateway, cpus: float) -> float:
    began = time.perf_counter()
    created = await gateway.create(image=engine.busybox, cpus=cpus, memory_bytes=128 * 2**20)
    took = time.perf_counter() - began
    assert created.state is State.RUNNING, created
    await gateway.call(STOP_SANDBOX, sandbox_id=created.sandbox_id)
    return took


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0, command
    return said.decode().strip()
