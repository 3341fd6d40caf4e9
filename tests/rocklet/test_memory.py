"""The kernel's count of what it killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from rocklet.memory import OomCounter
from tests.cgroups import limited_cgroup
from tests.rocklets import start_rocklet


def test_the_count_is_a_number_that_never_falls() -> None:
    counter = OomCounter()
    first = counter.count()
    assert 0 <= first <= counter.count()
    counter.close()
    counter.close()
    assert counter.count() == 0


@pytest.fixture
def wrapper() -> Iterator[tuple[str, ...]]:
    """What starts a rocklet in a memory cgroup of 150 MB."""
    with limited_cgroup("memory", 150 * 2**20, v1="memory.limit_in_bytes", v2="memory.max") as wrapper:
        yield wrapper


@pytest.mark.slow
async def test_a_command_that_the_kernel_takes_for_want_of_memory_says_so_and_the_rocklet_lives(
    wrapper: tuple[str, ...],
) -> None:
    hog = "x=$(head -c 400000000 /dev/zero | tr '\\0' x); echo survived"
    async with start_rocklet(*wrapper) as (url, token, process), aiohttp.ClientSession() as http, asyncio.timeout(60):
        http.headers["Authorization"] = f"Bearer {token}"

        async def post(path: str, **body: object) -> dict[str, object]:
            async with http.post(f"{url}{path}", json=body) as reply:
                found: dict[str, object] = await reply.json()
                return found

        killed = await post("/v1/execute", command=hog)
        assert str(killed["failure_reason"]).startswith("oom: ")
        assert killed["exit_code"] == 137
        await post("/v1/sessions")
        killed = await post("/v1/sessions/run", command=hog)
        assert str(killed["failure_reason"]).startswith("oom: ")
        assert killed["shell_restarted"] is True
        honest = await post("/v1/sessions/run", command="sh -c 'kill -9 $$'")
        assert (honest["exit_code"], honest["failure_reason"]) == (137, "")
        assert process.returncode is None


@pytest.mark.slow
async def test_environments_whose_host_the_kernel_takes_are_lost_and_say_so(
    wrapper: tuple[str, ...], tmp_path: Path
) -> None:
    hog = tmp_path / "python-of-tests"
    hog.write_text("#!/bin/sh\nread question\nx=$(head -c 400000000 /dev/zero | tr '\\0' x); echo survived\n")
    hog.chmod(0o755)
    rocklet = start_rocklet(*wrapper, gem_python=hog)
    async with rocklet as (url, token, process), aiohttp.ClientSession() as http, asyncio.timeout(60):
        headers = {"Authorization": f"Bearer {token}"}
        async with http.post(f"{url}/v1/envs", json={"env_id": "any"}, headers=headers) as reply:
            lost = await reply.json()
        assert (lost["code"], lost["details"]["cause"]) == ("env_lost", "oom")
        assert "ended during make: oom: the kernel killed it" in lost["message"]
        assert process.returncode is None
