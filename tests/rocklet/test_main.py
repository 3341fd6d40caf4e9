"""The rocklet as a process: how it starts, what it leaves, with which code it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from rock.wire.messages import RockletExit
from tests.rocklets import rocklet_environment, start_rocklet

pytestmark = pytest.mark.slow


async def post(url: str, token: str, path: str, **body: object) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(f"{url}{path}", json=body) as reply:
        answer: dict[str, object] = await reply.json()
        return answer


@pytest.mark.parametrize(
    ("settings", "exit_code"),
    [
        ({"idle_timeout": 0.3}, RockletExit.IDLE),
        ({"max_lifetime": 0.3}, RockletExit.MAX_LIFETIME),
        ({"lease": 0.3}, RockletExit.LEASE),
    ],
)
async def test_each_clock_ends_the_rocklet_with_its_own_code(settings: dict[str, object], exit_code: int) -> None:
    async with start_rocklet(**settings) as (_, _, process), asyncio.timeout(10):
        assert await process.wait() == exit_code


async def test_it_reads_no_certificates_of_the_image_which_are_its_commands(tmp_path: Path) -> None:
    certificates = tmp_path / "certificates"
    os.mkfifo(certificates)  # whoever reads it, waits
    async with asyncio.timeout(60), start_rocklet("env", f"SSL_CERT_FILE={certificates}") as (url, token, _):
        seen = await post(url, token, "/v1/execute", command=["printenv", "SSL_CERT_FILE"])
        assert seen["stdout"] == f"{certificates}\n"


async def test_a_close_by_request_is_answered_and_ends_it_with_0() -> None:
    async with start_rocklet() as (url, token, process), asyncio.timeout(10):
        assert await post(url, token, "/v1/close") == {}
        assert await process.wait() == RockletExit.CLOSED


@pytest.mark.parametrize("ending", ["SIGTERM", "close", "idle"])
async def test_its_end_is_the_end_of_all_that_commands_started(ending: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    exits = {"SIGTERM": RockletExit.SIGNALED, "close": RockletExit.CLOSED, "idle": RockletExit.IDLE}
    settings: dict[str, object] = {"idle_timeout": 0.3} if ending == "idle" else {}
    async with start_rocklet(**settings) as (url, token, process), asyncio.timeout(60):
        await post(url, token, "/v1/sessions")
        # Each holds the FIFO open for writing: its end of file says that all are gone.
        stubborn = "(setsid sh -c 'trap \"\" TERM HUP; sleep 300 & sleep 300' &)"
        daemons = f"exec 9>{fifo}; sleep 300 & {stubborn}; nohup sleep 300 >/dev/null 2>&1 &"
        reader = asyncio.ensure_future(asyncio.to_thread(fifo.read_bytes))
        await post(url, token, "/v1/sessions/run", command=daemons)
        await post(url, token, "/v1/execute", command="setsid sleep 300 >/dev/null 2>&1 &")
        if ending == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        elif ending == "close":
            await post(url, token, "/v1/close")
        assert await process.wait() == exits[ending]
        assert await reader == b""


async def test_orphans_leave_no_zombies(tmp_path: Path) -> None:
    async with start_rocklet() as (url, token, process), asyncio.timeout(60):
        command = "for i in 1 2 3 4 5; do (setsid sleep 0.01 &); done; sleep 0.2; true"
        await post(url, token, "/v1/execute", command=command)
        await post(url, token, "/v1/execute", command="true")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        assert children.split() == []


async def test_a_command_that_the_end_cuts_short_has_no_answer(tmp_path: Path) -> None:
    async with start_rocklet() as (url, token, process), asyncio.timeout(60):
        await post(url, token, "/v1/sessions")
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        running = asyncio.ensure_future(post(url, token, "/v1/sessions/run", command=f"echo >{fifo}; sleep 300"))
        await asyncio.to_thread(fifo.read_bytes)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await running
        assert await process.wait() == RockletExit.SIGNALED


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ROCKLET_TOKEN_SHA256": ""}, "ROCKLET_TOKEN_SHA256"),
        ({"ROCKLET_SANDBOX_ID": "NO"}, "ROCKLET_SANDBOX_ID"),
        ({"ROCKLET_IDLE_TIMEOUT": "soon"}, "ROCKLET_IDLE_TIMEOUT"),
        ({"ROCKLET_ENV": "[]"}, "ROCKLET_ENV"),
        ({"ROCKLET_PORT": "99999"}, "ROCKLET_PORT"),
    ],
)
def test_a_bad_setting_is_named_on_stderr_and_ends_it_early(changed: dict[str, str], named: str) -> None:
    environ = {**rocklet_environment(), **changed}
    ended = subprocess.run([sys.executable, "-m", "rocklet"], env=environ, capture_output=True, timeout=90, check=False)
    assert ended.returncode == RockletExit.EARLY
    assert named in ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()


def test_a_taken_port_ends_it_early() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = rocklet_environment(port=taken.getsockname()[1])
        arguments = [sys.executable, "-m", "rocklet", "--host", "127.0.0.1"]
        ended = subprocess.run(arguments, env=environ, capture_output=True, timeout=120, check=False)
    assert ended.returncode == RockletExit.EARLY
    assert "cannot listen" in ended.stderr.decode()
