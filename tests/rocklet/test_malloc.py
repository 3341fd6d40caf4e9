"""What a rocklet holds after a crowd of large replies."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import aiohttp
import pytest

from rock.wire.operations import EXECUTE, READ_FILE, WRITE_FILE
from tests.bench.usage import read_memory
from tests.rocklets import start_rocklet

pytestmark = pytest.mark.slow

_SIZE = 5_000_000  # bytes of each
_CROWD = 12
_SPARE = 24 * 2**20  # bytes that may stay; each of the crowd's replies, kept once, would be 60 MB
_PATIENCE = 120.0  # seconds


async def test_a_crowd_of_large_replies_is_forgotten(tmp_path: Path) -> None:
    async with start_rocklet(home=tmp_path) as (url, token, process):
        connector = aiohttp.TCPConnector(limit=0)  # each keeps its connection, and the rocklet what belongs to it
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(url, headers=headers, connector=connector) as http:
            before = read_memory(process.pid).uss
            await asyncio.gather(*(_use(http, number) for number in range(_CROWD)))
            async with asyncio.timeout(_PATIENCE):
                while read_memory(process.pid).uss > before + _SPARE:  # noqa: ASYNC110 - the kernel tells nobody
                    await asyncio.sleep(0.5)


async def _use(http: aiohttp.ClientSession, number: int) -> None:
    path = f"~/file-{number}"
    await _post(http, WRITE_FILE.path, path=path, content="x" * _SIZE)
    for _ in range(2):
        assert len(await _post(http, READ_FILE.path, path=path)) > _SIZE
        shown = await _post(
            http, EXECUTE.path, command=f"head -c {_SIZE} /dev/zero | tr '\\0' x", max_output_bytes=_SIZE
        )
        assert len(shown) > _SIZE


async def _post(http: aiohttp.ClientSession, route: str, **body: object) -> bytes:
    async with http.post(route, data=io.BytesIO(json.dumps(body).encode())) as reply:
        assert reply.status == 200
        return await reply.read()
