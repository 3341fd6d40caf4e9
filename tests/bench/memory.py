"""How much memory a gateway holds: idle, and when it has made many sandboxes and run a command in each."""

from __future__ import annotations

import asyncio
from typing import Any

from rock.wire.messages import ExecuteRequest, State
from rock.wire.operations import EXECUTE, LIST_SANDBOXES
from tests.bench.usage import read_memory
from tests.cluster import run_cluster
from tests.gateways import Gateway, start_gateway_process
from tests.needs import Kind

__all__ = ["SANDBOXES", "measure_memory"]

SANDBOXES = 200

_AT_ONCE = 8  # creates under way
_SPEC: dict[str, Any] = {"cpus": 0.005, "memory_bytes": 96 * 2**20, "disk_bytes": 16 * 2**20}


async def measure_memory(kind: Kind, count: int = SANDBOXES) -> tuple[int, int]:
    """Bytes of a gateway's resident memory: when it is idle, and with so many sandboxes, each with its rocklet."""
    with run_cluster(kind) as cluster:
        async with start_gateway_process(cluster) as gateway:
            assert gateway.process is not None
            idle = read_memory(gateway.process.pid).rss
            turns = asyncio.Semaphore(_AT_ONCE)
            async with asyncio.TaskGroup() as making:
                for _ in range(count):
                    making.create_task(_make_one(gateway, turns))
            listed = (await gateway.call(LIST_SANDBOXES)).sandboxes
            assert sum(each.state is State.RUNNING for each in listed) == count
            return idle, read_memory(gateway.process.pid).rss


async def _make_one(gateway: Gateway, turns: asyncio.Semaphore) -> None:
    async with turns:
        created = await gateway.create(**_SPEC)
        ran = await gateway.call(EXECUTE, ExecuteRequest(command=["true"]), sandbox_id=created.sandbox_id)
        assert ran.exit_code == 0
