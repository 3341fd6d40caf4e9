"""`python -m tests.bench [CASE...]`: every case, or those whose titles hold one of the words.  Prints ratios.

`wakeups` is one more: how soon after its end a background command's caller goes on.  `memory`, alone, is another: what
a gateway holds, idle and with 200 sandboxes; it takes minutes.  So is `containers`: how soon a sandbox in a container
answers, on each kind of cluster, against `docker run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from rock._config import GatewayAddress
from rock._gateway import Gateway
from rock.actions import CreateBashSessionRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig
from rock.wire import messages as m
from rock.wire import operations as op
from rock_nomad.bundle.build import ensure_cached_bundle
from rock_nomad.config import cache_folder
from tests.bench.cases import Bench, Case
from tests.bench.containers import AT_ONCE, measure_containers
from tests.bench.floors import BarePty, start_echo
from tests.bench.measure import Sample, time_rounds
from tests.bench.memory import SANDBOXES, measure_memory
from tests.bench.wakeups import COUNT, measure_wakeups

_WAKEUPS = "wakeups"
_MEMORY = "memory"
_CONTAINERS = "containers"


async def _main(words: list[str]) -> None:
    if words == [_MEMORY]:
        idle, full = (size / 2**20 for size in await measure_memory())
        print(f"a gateway's memory: idle {idle:.0f} MiB, with {SANDBOXES} sandboxes {full:.0f} MiB")
        return
    if words == [_CONTAINERS]:
        medians = await measure_containers()
        floor, crowded = medians["docker run"]
        for name, (alone, crowd) in medians.items():
            ratios = f"{alone / floor:.2f} and {crowd / crowded:.2f} times docker run"
            print(f"{name}: answers after {alone:.2f} s, {AT_ONCE} at once after {crowd:.2f} s; {ratios}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("what", "floor ms", "way", "ms", "p99", "ratio", "spread"):
        table.add_column(column, justify="left" if column in {"what", "way"} else "right")
    async with _bench() as bench:
        for case in bench.cases():
            if not words or any(word in case.title for word in words):
                print(f"measuring: {case.title}", file=sys.stderr)
                samples = await time_rounds({**case.floors, **case.ours}, calls=case.calls)
                _add_rows(table, case, samples)
        wakeups = await measure_wakeups(bench.sandbox, "bench") if not words or _WAKEUPS in words else []
    console = Console(width=110)
    console.print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, embedded cluster; medians of 5 rounds")
    if table.rows:
        console.print(table)
    if wakeups:
        median, p99 = (wakeups[len(wakeups) * part // 100] * 1e3 for part in (50, 99))
        console.print(f"{COUNT} background commands at once: woken {median:.1f} ms after their end, p99 {p99:.1f} ms")


def _add_rows(table: Table, case: Case, samples: dict[str, Sample]) -> None:
    floor = sum(samples[name].median for name in case.floors)
    shown = f"{floor * 1e3:.2f} ({' + '.join(case.floors)})"
    for name in case.ours:
        ours = samples[name]
        figures = (ours.median * 1e3, ours.p99 * 1e3, ours.median / floor, ours.spread)
        table.add_row(case.title, shown, name, *(f"{figure:.2f}" for figure in figures))
        shown = ""


@contextlib.asynccontextmanager
async def _bench() -> AsyncIterator[Bench]:
    """A cluster as `rock-nomad dev` starts it, one sandbox, and the floors."""
    async with _cluster() as address, start_echo() as echo_url, aiohttp.ClientSession() as http:
        gateway = Gateway(address)
        config = SandboxConfig(base_url=f"http://x:{address.api_key}@{address.url.removeprefix('http://')}")
        config = config.model_copy(update={"cpus": 0.5, "memory": "512m", "disk": "256m"})
        async with Sandbox(config) as sandbox:
            await sandbox.create_session(CreateBashSessionRequest(session="bench"))
            endpoint = await gateway.call(op.RESOLVE_ROCKLET, m.Empty(), sandbox_id=str(sandbox.sandbox_id))
            pty = BarePty()
            bench = Bench(
                http=http,
                gateway=gateway,
                sandbox=sandbox,
                endpoint=endpoint,
                echo_url=echo_url,
                pty=pty,
                bundle=await asyncio.to_thread(ensure_cached_bundle, cache_folder()),
            )
            try:
                yield bench
            finally:
                pty.close()


@contextlib.asynccontextmanager
async def _cluster() -> AsyncIterator[GatewayAddress]:
    with tempfile.TemporaryDirectory() as folder:
        env_file = Path(folder) / "env"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "rock_nomad", "dev", "--port", "0", "--env-file", str(env_file)),
            env={**os.environ, "ROCK_CREDENTIALS_FILE": str(Path(folder) / "credentials.json")},
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            while b"http://" not in (line := await process.stderr.readline()):
                assert line, "rock-nomad dev did not start"
            variables = dict(re.findall(r"export (\w+)=(\S+)", env_file.read_text()))
            yield GatewayAddress(url=variables["ROCK_BASE_URL"], api_key=variables["ROCK_API_KEY"])
        finally:
            process.terminate()
            await process.communicate()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
