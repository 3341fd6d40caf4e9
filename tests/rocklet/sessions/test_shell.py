"""One shell process and the channel it is told by."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.errors import InvalidRequest
from rocklet.processes import Children
from rocklet.sessions.output import Output
from rocklet.sessions.shell import _UNQUOTE, Shell, find_flavor, frame_command
from rocklet.surroundings import Surroundings

_PATH = "/usr/bin:/bin"
_LIMIT = 2**20


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    children = Children(adopt=False)
    shell = Shell(children, Surroundings(env={"PATH": _PATH, "LANG": "C.UTF-8"}, cwd="/"))
    yield shell
    await shell.close(0.0)
    await children.end_all()


async def run(shell: Shell, command: str) -> tuple[str, int]:
    shell.begin(command, Output(_LIMIT))
    async with asyncio.timeout(10):
        exit_code = await shell.finished
        assert await shell.settle()
    return await shell.take_output().text(), exit_code


def test_bash_is_preferred_and_a_path_without_shells_is_an_error() -> None:
    assert find_flavor(_PATH)[0].name == "bash"
    with pytest.raises(InvalidRequest, match="neither bash nor sh"):
        find_flavor("/nonono")


@pytest.mark.slow
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80), st.integers(0, 255))
def test_whatever_the_text_it_stays_one_word_of_its_line(command: str, status: int) -> None:
    framed = frame_command(find_flavor(_PATH)[0], f": {command!r}\n{command}", "0" * 32, status, "/dev/pts/7").decode()
    _, _, begun = framed.partition(" 2>&0; ")
    words = begun.replace("eval ", "printf '<%s>' ", 1).partition(" </dev/pts/7")[0].partition("|| ")
    line = words[2] or words[0]
    found = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=60).stdout.decode()
    assert found == f"<: {command!r}\n{command}>"


async def test_a_status_is_restored_without_a_subshell_when_it_is_0() -> None:
    flavor, _ = find_flavor(_PATH)
    assert b"exit" not in frame_command(flavor, "true", "n", 0, "/dev/pts/7")
    assert b"exit 3" in frame_command(flavor, "true", "n", 3, "/dev/pts/7")


@pytest.mark.parametrize("opened", ["", "'", '"'])
def test_a_mark_that_is_sent_again_is_read_whatever_quotation_is_open(opened: str) -> None:
    lines = f"{opened}\n{_UNQUOTE}\necho read\n"
    with open("/dev/null", "r+b") as null:  # it writes to what it reads from
        ran = subprocess.run(["bash", "-c", lines], stdin=null, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "read\n"


async def test_a_command_that_is_aborted_still_tells_its_status(shell: Shell) -> None:
    await run(shell, "")
    assert await run(shell, "kill -INT $$; echo unreached") == ("\n", 130)
    assert shell.was_aborted
    assert await run(shell, "echo ok") == ("ok\n", 0)
    assert not shell.was_aborted


@pytest.mark.slow
async def test_stopping_ends_a_command_fifty_times_in_a_row_and_the_next_one_answers(shell: Shell) -> None:
    await run(shell, "")
    for n in range(50):
        shell.begin("sleep 300; echo unreached", Output(_LIMIT))
        await asyncio.wait([shell.finished], timeout=n / 5000)  # so that some are hit while the shell forks
        await shell.stop(0.2)
        assert not shell.ended.done()
        assert await shell.settle()
        shell.take_output()
        assert await run(shell, f"echo {n}") == (f"{n}\n", 0)


@pytest.mark.slow
async def test_of_a_command_that_is_stopped_while_it_is_read_no_part_runs(shell: Shell, tmp_path: Path) -> None:
    await run(shell, "x=1")
    part = f"touch {tmp_path}/ran"
    for size in (10, 1000, 30_000):
        for _ in range(10):
            lines = f"\n{part}\n".join("y" * 20 for _ in range(size // 20 + 1))
            shell.begin(f"sleep 300; : '\n{lines}\n'", Output(_LIMIT))
            await shell.stop(0.2)
            assert await shell.settle()
            shell.take_output()
            assert await run(shell, "echo $x") == ("1\n", 0)
    assert not (tmp_path / "ran").exists()


async def test_a_shell_that_ended_leaves_its_last_words(shell: Shell) -> None:
    await run(shell, "")
    shell.begin("echo last; exec true", Output(_LIMIT))
    assert await shell.ended == 0
    shell.release()
    assert await shell.take_output().text() == "last\n"


async def test_noise_on_the_channel_is_no_mark_and_fills_no_memory(shell: Shell) -> None:
    await run(shell, "")
    _, exit_code = await run(shell, "head -c 1000000 /dev/zero | tr '\\0' 'x' >&10; printf '\\nn 5\\n' >&10; (exit 4)")
    assert exit_code in (1, 4)
    assert (await run(shell, "echo ok"))[1] == 0
