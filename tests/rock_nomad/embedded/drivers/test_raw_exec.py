from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rock_nomad.embedded.drivers.driver import StartRefused, TaskSpec
from rock_nomad.embedded.drivers.raw_exec import RawExecDriver
from rock_nomad.embedded.lifecycle import Exited
from tests.rock_nomad.embedded.drivers.specs import make_spec

pytestmark = pytest.mark.slow


@pytest.fixture
async def driver() -> AsyncIterator[RawExecDriver]:
    driver = RawExecDriver()
    yield driver
    await driver.close()


def shell(root: Path, script: str, **fields: object) -> TaskSpec:
    return make_spec(root, config={"command": "/bin/sh", "args": ["-c", script]}, **fields)


async def finish(driver: RawExecDriver, spec: TaskSpec) -> Exited:
    async with asyncio.timeout(60):
        return await (await driver.start(spec)).wait()


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ("exit 0", Exited(0)),
        ("exit 3", Exited(3)),
        ("kill -9 $$", Exited(137, signal=9)),
        ("kill -2 $$", Exited(130, signal=2)),
    ],
)
async def test_an_exit_is_counted_as_nomad_counts(
    driver: RawExecDriver, tmp_path: Path, script: str, ended: Exited
) -> None:
    assert await finish(driver, shell(tmp_path, script)) == ended


async def test_output_goes_to_the_logs_and_the_environment_is_the_tasks(driver: RawExecDriver, tmp_path: Path) -> None:
    await finish(driver, shell(tmp_path, "env | sort; pwd; echo bad >&2"))
    logs = tmp_path / "alloc" / "logs"
    lines = (logs / "rocklet.stdout.0").read_text().splitlines()
    assert "MARK=x" in lines
    assert lines[-1] == str(tmp_path / "rocklet")
    assert not {line.split("=")[0] for line in lines[:-1]} - {"MARK", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}
    assert (logs / "rocklet.stderr.0").read_text() == "bad\n"


async def test_a_stop_asks_with_the_tasks_signal(driver: RawExecDriver, tmp_path: Path) -> None:
    script = "trap 'exit 7' USR1; echo ready > ready; while :; do sleep 0.02; done"
    task = await driver.start(shell(tmp_path, script, kill_signal="SIGUSR1"))
    async with asyncio.timeout(60):
        await until((tmp_path / "rocklet" / "ready").exists)
        await task.stop()
        assert await task.wait() == Exited(7)


async def test_what_does_not_listen_is_killed_after_the_timeout(driver: RawExecDriver, tmp_path: Path) -> None:
    script = "trap '' INT; echo ready > ready; while :; do sleep 0.02; done"
    task = await driver.start(shell(tmp_path, script, kill_timeout=0.2))
    async with asyncio.timeout(60):
        await until((tmp_path / "rocklet" / "ready").exists)
        await task.stop()
        assert await task.wait() == Exited(137, signal=9)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"command": "/no/such"}, 'binary "/no/such" could not be found'),
        ({"command": "no-such"}, 'binary "no-such" could not be found'),
        ({}, "command must be specified"),
    ],
)
async def test_a_command_that_cannot_start_is_refused_in_nomads_words(
    driver: RawExecDriver, tmp_path: Path, config: dict[str, str], text: str
) -> None:
    with pytest.raises(StartRefused, match=text):
        await driver.start(make_spec(tmp_path, config=config))


async def test_a_script_of_the_tasks_own_is_found_in_its_directory(driver: RawExecDriver, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, config={"command": "run.sh"})
    script = tmp_path / "rocklet" / "local" / "run.sh"
    script.write_text("#!/bin/sh\nexit 9\n")
    script.chmod(0o755)
    assert await finish(driver, spec) == Exited(9)


async def test_a_signal_that_does_not_exist_is_refused(driver: RawExecDriver, tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="SIGFOO"):
        await driver.start(shell(tmp_path, "exit", kill_signal="SIGFOO"))


async def test_a_killed_guard_takes_its_task_along_and_says_so(driver: RawExecDriver, tmp_path: Path) -> None:
    task = await driver.start(shell(tmp_path, "echo $PPID $$ > pids; exec sleep 600"))
    async with asyncio.timeout(60):
        pids = tmp_path / "rocklet" / "pids"
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        guard, leader = map(int, pids.read_text().split())
        os.kill(guard, signal.SIGKILL)
        ended = await task.wait()
        await until(lambda: not Path(f"/proc/{leader}/cwd").exists())
    assert (ended.exit_code, ended.message) == (137, "the guard of the task was killed")


async def test_a_killed_keeper_is_replaced(driver: RawExecDriver, tmp_path: Path) -> None:
    assert await finish(driver, shell(tmp_path, "exit 1")) == Exited(1)
    keeper = driver._keeper
    assert keeper is not None
    keeper.kill()
    keeper.wait()
    assert await finish(driver, shell(tmp_path, "exit 2")) == Exited(2)


async def until(is_so: Callable[[], bool]) -> None:
    """Return once something outside is so that tells nobody: a file, a process."""
    while not is_so():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)
