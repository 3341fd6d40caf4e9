"""One-shot programs through the whole rocklet."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rock.wire.errors import CommandFailed, InvalidRequest
from tests.rocklet.callers import Caller


@pytest.mark.parametrize(
    ("command", "stdout", "stderr", "exit_code"),
    [
        (["echo", "a  b", "$HOME"], "a  b $HOME\n", "", 0),
        ("echo out; echo err >&2; exit 3", "out\n", "err\n", 3),
        ("[[ abc == a* ]] && echo bash", "bash\n", "", 0),
        ("kill -9 $$", "", "", 137),
        ("kill -TERM $$", "", "", 143),
        (["sh", "-c", "printf '\\377\\000'"], "\\xff\0", "", 0),
        ("tty", "not a tty\n", "", 1),
        ("cat", "", "", 0),
    ],
)
async def test_a_program_answers_exactly(
    caller: Caller, command: str | list[str], stdout: str, stderr: str, exit_code: int
) -> None:
    done = await caller.execute(command)
    assert (done.stdout, done.stderr, done.exit_code) == (stdout, stderr, exit_code)
    assert (done.timed_out, done.canceled, done.failure_reason) == (False, False, "")


async def test_directory_environment_and_input_are_the_requests(caller: Caller) -> None:
    done = await caller.execute("pwd; echo $GREETING $MINE; cat", cwd="/", env={"MINE": "x"}, stdin="in\n" * 100_000)
    assert done.stdout == "/\nhello x\n" + "in\n" * 100_000


async def test_input_that_nobody_reads_is_no_error(caller: Caller) -> None:
    assert (await caller.execute("true", stdin="x" * 1_000_000)).exit_code == 0


@pytest.mark.parametrize(
    ("command", "options", "error", "named"),
    [
        (["nonono"], {}, CommandFailed, "nonono"),
        (["/etc/passwd"], {}, CommandFailed, "/etc/passwd"),
        (["true"], {"cwd": "/nonono"}, CommandFailed, "/nonono"),
        (["true"], {"cwd": "x"}, InvalidRequest, "cwd"),
        (["true"], {"user": "nonono"}, InvalidRequest, "nonono"),
        (["x" * 5000], {}, CommandFailed, "xxx"),
        ([""], {}, CommandFailed, "''"),
    ],
)
async def test_what_cannot_start_is_named(
    caller: Caller, command: list[str], options: dict[str, str], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        await caller.execute(command, **options)


@pytest.mark.slow
async def test_a_timeout_kills_the_whole_group_and_returns_what_was_printed(caller: Caller, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    held = asyncio.ensure_future(asyncio.to_thread(fifo.read_bytes))
    stubborn = "sh -c 'trap \"\" TERM; sleep 300 & sleep 300'"
    done = await caller.execute(f"exec 9>{fifo}; echo partial; {stubborn}", timeout=0.3)
    assert (done.stdout, done.exit_code, done.timed_out) == ("partial\n", None, True)
    assert done.failure_reason.startswith("timed out after 0.3 s")
    async with asyncio.timeout(60):
        assert await held == b""  # its end of file: nobody is left


async def test_a_daemon_that_keeps_the_output_open_neither_delays_nor_dies(caller: Caller, tmp_path: Path) -> None:
    daemon = f"(read go <{tmp_path}/go; echo late; echo lived >{tmp_path}/fifo) &"
    os.mkfifo(tmp_path / "go")
    os.mkfifo(tmp_path / "fifo")
    done = await caller.execute(f"{daemon} echo now")
    assert done.stdout == "now\n"
    async with asyncio.timeout(60):
        await asyncio.to_thread((tmp_path / "go").write_text, "go\n")
        assert await asyncio.to_thread((tmp_path / "fifo").read_text) == "lived\n"


async def test_what_a_program_leaves_to_finish_is_waited_for_shortly(caller: Caller) -> None:
    assert (await caller.execute("echo hi | tee >(sleep 0.02; cat) >/dev/null")).stdout == "hi\n"


async def test_each_stream_is_cut_by_itself(caller: Caller) -> None:
    command = "head -c 5000 /dev/zero | tr '\\0' x; echo short >&2"
    done = await caller.execute(command, max_output_bytes=1024)
    assert (len(done.stdout), done.stderr, done.cut_bytes) == (1024, "short\n", 5000 - 1024)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
async def test_a_program_runs_as_the_user_that_is_asked_for(caller: Caller) -> None:
    assert (await caller.execute("id -un; id -G", user="nobody", cwd="/")).stdout == "nobody\n65534\n"


async def test_many_programs_run_side_by_side(caller: Caller) -> None:
    done = await asyncio.gather(*(caller.execute(f"sleep 0.1; echo {n}") for n in range(8)))
    assert [each.stdout for each in done] == [f"{n}\n" for n in range(8)]


async def test_a_program_that_prints_nothing_for_too_long_is_killed(caller: Caller) -> None:
    done = await caller.execute(["sleep", "300"], silence_timeout=0.1, timeout=300)
    assert (done.exit_code, done.timed_out) == (None, True)
    assert done.failure_reason == "printed nothing for 0.1 s; its process group was killed"
