"""Commands in the background, against a real rocklet."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import time
from pathlib import Path

import pytest

from rock import _nohup
from rock._connection import Connection
from rock._gateway import Gateway
from rock._requests import Command, CreateBashSessionRequest, RunMode
from rock._responses import BashObservation
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.errors import SandboxEnded, SandboxUnreachable, SessionNotFound
from rock.wire import messages as m
from rock.wire.errors import ClusterUnavailable
from rock.wire.operations import RESOLVE_ROCKLET, WAIT_PROCESS
from tests.processes import pids_of
from tests.rock.servers import Seen, WireServer, serve

pytestmark = pytest.mark.slow  # a real rocklet


async def nohup(sandbox: Sandbox, cmd: str, **options: object) -> BashObservation:
    return await sandbox.arun(cmd, mode=RunMode.NOHUP, **options)  # type: ignore[arg-type]  # the test's to get right


@pytest.mark.parametrize(
    ("cmd", "exit_code", "reason"),
    [
        ("echo words", 0, ""),
        ("echo words; exit 3", 3, "ended with exit code 3 after"),
        ("echo words; kill -9 $BASHPID", 137, "exit code 137 (SIGKILL)"),
        ("echo words; no-such-program 2>/dev/null", 127, "exit code 127"),
    ],
)
async def test_the_exit_code_is_the_commands_own(sandbox: Sandbox, cmd: str, exit_code: int, reason: str) -> None:
    observation = await nohup(sandbox, cmd)
    assert (observation.output, observation.exit_code) == ("words", exit_code)
    assert reason in observation.failure_reason
    assert bool(observation.failure_reason) == bool(exit_code)


async def test_a_command_sees_its_session_and_outlives_it(sandbox: Sandbox, tmp_path: Path) -> None:
    await sandbox.create_session(CreateBashSessionRequest(session="work"))
    await sandbox.arun(f"cd {tmp_path}; unexported=1; greet() {{ echo hello $unexported; }}", session="work")
    assert (await nohup(sandbox, "greet; pwd", session="work")).output == f"hello 1\n{tmp_path}"
    late = await nohup(sandbox, f"sleep 0.5; echo done > {tmp_path}/late.txt", wait_timeout=0.1)
    assert late.exit_code == 1  # its session is closed by now
    pid = int(late.failure_reason.split()[1])
    assert (await sandbox.wait_for_process_completion(pid, "gone", 60, 1))[0]
    assert (tmp_path / "late.txt").read_text() == "done\n"


async def test_a_command_that_takes_too_long_goes_on_and_says_so(sandbox: Sandbox) -> None:
    mark = f"sleep 3600.{os.getpid()}"  # nobody else's
    observation = await nohup(sandbox, f"echo early; {mark}", wait_timeout=1)
    assert (observation.output, observation.exit_code) == ("early", 1)
    assert re.search(r"did not complete within \d\S*s \(timeout: 1s\)", observation.failure_reason)
    pids = pids_of(mark)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def test_the_process_id_is_the_programs_own(sandbox: Sandbox, tmp_path: Path) -> None:
    await sandbox.create_session()
    pid, refusal = await sandbox.start_nohup_process("readlink /proc/self", f"{tmp_path}/out", "default")
    assert (type(pid), refusal) == (int, None)
    await sandbox.wait_for_process_completion(pid or 0, "default", 10, 1)
    assert (tmp_path / "out").read_text() == f"{pid}\n"
    pid, _ = await sandbox.start_nohup_process("sleep 48.1", f"{tmp_path}/out", "default")
    await sandbox.execute(Command(command=f"kill {pid}"))  # by the shell: not every image has a program for it
    end, message = await _nohup.wait_for_process(sandbox._rocklet, pid or 0, 5)
    assert end is not None
    assert end.exit_code == 143
    assert "SIGTERM" in message


@pytest.mark.parametrize("limit", [1, 1023, 1024, 99_999])
async def test_a_limit_holds_to_the_byte(sandbox: Sandbox, limit: int) -> None:
    observation = await nohup(sandbox, "head -c 50000 /dev/zero | tr '\\0' x", response_limited_bytes_in_nohup=limit)
    assert len(observation.output) == min(limit, 50_000)


async def test_a_character_that_the_limit_cuts_is_left_out(sandbox: Sandbox) -> None:
    assert (await nohup(sandbox, "echo aäb", response_limited_bytes_in_nohup=2)).output == "a"


async def test_an_ignored_output_stays_in_its_file(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "deep folder" / "out.log"
    observation = await nohup(sandbox, "head -c 2048 /dev/zero", ignore_output=True, output_file=str(path))
    assert path.stat().st_size == 2048
    lines = observation.output.splitlines()
    assert lines[:4] == [
        "Command executed in nohup mode without streaming the log content.",
        "Status: completed",
        f"Output file: {path}",
        "File size: 2.00 KB",
    ]
    assert observation.exit_code == 0


async def test_an_output_file_is_kept_and_a_temporary_one_is_not(sandbox: Sandbox, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    assert (await nohup(sandbox, "echo words", output_file=str(kept))).output == "words"
    assert kept.read_text() == "words\n"
    named = await nohup(sandbox, "readlink /proc/self/fd/1")
    assert named.output.startswith("/tmp/tmp_")
    assert not Path(named.output).exists()


async def test_what_is_wrong_with_the_call_is_in_the_observation(sandbox: Sandbox) -> None:
    nameless = await nohup(sandbox, "true", output_file="/tmp/no-extension")
    assert nameless.exit_code == 1
    assert "Failed parse output file path: /tmp/no-extension" in nameless.failure_reason
    sessionless = await nohup(sandbox, "true", session="never-made")
    assert sessionless.exit_code == 1
    assert sessionless.failure_reason.startswith("Failed to execute nohup command 'true': ")
    broken = await nohup(sandbox, "echo (")
    assert broken.exit_code not in (0, None)
    assert "syntax error" in broken.output
    with pytest.raises(SessionNotFound):
        await sandbox.start_nohup_process("true", "/tmp/x", "never-made")


async def test_the_older_calls_tell_the_same(sandbox: Sandbox, tmp_path: Path) -> None:
    ended = await sandbox.run_nohup_and_wait("echo hi; exit 4", str(tmp_path / "out"))
    assert (ended.success, "exit code 4" in ended.message) == (True, True)
    assert (tmp_path / "out").read_text() == "hi\n"
    read = await sandbox.handle_nohup_output(str(tmp_path / "out"), "x", False, "late", False, None)
    assert (read.output, read.exit_code, read.failure_reason) == ("hi", 1, "late")
    noted = await sandbox.handle_nohup_output(str(tmp_path / "out"), "x", True, "", True, None)
    assert "File size: 3 bytes" in noted.output


async def test_64_commands_at_once_wake_their_callers_as_they_end(sandbox: Sandbox, tmp_path: Path) -> None:
    await sandbox.create_session()

    async def wait_for_one(number: int) -> float:
        path = tmp_path / f"{number}.txt"
        pid, _ = await sandbox.start_nohup_process("sleep 1; date +%s.%N", str(path), "default")
        end, _ = await _nohup.wait_for_process(sandbox._rocklet, pid or 0, 30)
        woken = time.time()
        assert end is not None
        assert end.exit_code == 0
        return woken - float(path.read_text())

    delays = await asyncio.gather(*(wait_for_one(number) for number in range(64)))
    assert statistics.median(delays) < 0.5  # 50 ms on a machine that is not shared


async def test_lost_connections_are_no_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_nohup, "_PAUSE", 0.01)
    async with serve(WireServer(is_gateway=False)) as rocklet, serve(WireServer(is_gateway=True)) as gateway:
        gateway.always(RESOLVE_ROCKLET, rocklet.endpoint())
        gateway.always(WAIT_PROCESS, ClusterUnavailable("no leader"))

        @rocklet.answer(WAIT_PROCESS)
        async def answer(seen: Seen) -> m.ProcessEnd:
            if len(rocklet.seen) % 3:
                seen.cut()
            return m.ProcessEnd(has_ended=len(rocklet.seen) > 9, exit_code=5 if len(rocklet.seen) > 9 else None)

        sandbox = Sandbox(SandboxConfig(base_url=gateway.url, api_key="secret"))
        connection = Connection(sandbox._gateway, "s1", "always")
        connection.learn(rocklet.endpoint())
        end, _message = await _nohup.wait_for_process(connection, 77, 20)
        assert end == m.ProcessEnd(has_ended=True, exit_code=5)
        assert len(rocklet.seen) >= 10


async def test_a_sandbox_that_stays_unreachable_or_has_ended_is_no_observation(sandbox: Sandbox) -> None:
    async with serve(WireServer(is_gateway=True)) as gateway:
        connection = Connection(Gateway(sandbox._gateway.address), "s1", "never")
        connection._gateway = Sandbox(SandboxConfig(base_url=gateway.url, api_key="secret"))._gateway
        for error in (SandboxUnreachable("gone"), SandboxEnded("stopped")):
            gateway.always(WAIT_PROCESS, error)
            with pytest.raises(type(error)):
                await _nohup.wait_for_process(connection, 77, 0.1)


def test_a_process_id_stands_between_rocks_marks() -> None:
    assert _nohup.extract_pid("noise PIDSTART123PIDEND more") == 123
    assert _nohup.extract_pid("PIDSTARTPIDEND") is None
