"""The kernel's count of what it killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from rocklet.memory import OomCounter
from tests.rocklets import start_rocklet


def test_the_count_is_a_number_that_never_falls() -> None:
    counter = OomCounter()
    first = counter.count()
    assert 0 <= first <= counter.count()
    counter.close()
    counter.close()
    assert counter.count() == 0


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A memory cgroup of 150 MB, by whichever of the two hierarchies there is."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"rocklet-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(150 * 2**20))
        except OSError:
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no memory cgroup can be made here")


@pytest.mark.slow
async def test_a_command_that_the_kernel_takes_for_want_of_memory_says_so_and_the_rocklet_lives(cgroup: Path) -> None:
    hog = "x=$(head -c 400000000 /dev/zero | tr '\\0' x); echo survived"
    wrapper = ("sh", "-c", 'echo $$ >"$0"; exec "$@"', str(cgroup / "cgroup.procs"))
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
async def test_environments_whose_host_the_kernel_takes_are_lost_and_say_so(cgroup: Path, tmp_path: Path) -> None:
    hog = tmp_path / "python-of-tests"
    hog.write_text("#!/bin/sh\nread question\nx=$(head -c 400000000 /dev/zero | tr '\\0' x); echo survived\n")
    hog.chmod(0o755)
    script = f'echo $$ >"$0"; export ROCKLET_GEM_PYTHON={hog}; exec "$@"'
    wrapper = ("sh", "-c", script, str(cgroup / "cgroup.procs"))
    async with start_rocklet(*wrapper) as (url, token, process), aiohttp.ClientSession() as http, asyncio.timeout(60):
        headers = {"Authorization": f"Bearer {token}"}
        async with http.post(f"{url}/v1/envs", json={"env_id": "any"}, headers=headers) as reply:
            lost = await reply.json()
        assert (lost["code"], lost["details"]["cause"]) == ("env_lost", "oom")
        assert "ended during make: oom: the kernel killed it" in lost["message"]
        assert process.returncode is None
