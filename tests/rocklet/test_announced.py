import asyncio
import os
import subprocess
import time

import pytest

from rock.wire.messages import ProcessState, WaitAnnouncedRequest
from rock.wire.operations import GET_CLOCKS, WAIT_ANNOUNCED
from rocklet.announced import Announced
from tests.rocklet.callers import Caller


def _nobody() -> asyncio.Future[None]:
    """Who never calls off."""
    return asyncio.get_running_loop().create_future()


@pytest.mark.slow
async def test_the_end_of_an_announced_process_is_told_when_it_comes(bash: Caller) -> None:
    pid = int((await bash.run("sleep 1 & echo \\<$!\\>", announces="<")).output.partition("<")[2].partition(">")[0])
    began = time.monotonic()
    assert await bash.call(WAIT_ANNOUNCED, WaitAnnouncedRequest(pid=pid)) == ProcessState(announced=True, running=False)
    assert time.monotonic() - began < 3


@pytest.mark.slow
async def test_a_process_that_nobody_announced_is_not_waited_for(bash: Caller) -> None:
    pid = int((await bash.run("sleep 60 & echo \\<$!\\>")).output.partition("<")[2].partition(">")[0])
    began = time.monotonic()
    assert await bash.call(WAIT_ANNOUNCED, WaitAnnouncedRequest(pid=pid)) == ProcessState(announced=False, running=True)
    assert time.monotonic() - began < 1


@pytest.mark.slow
async def test_a_wait_holds_the_idle_clock_and_lasts_no_longer_than_a_part_of_it(bash: Caller) -> None:
    hold = bash.engine._settings.idle_timeout / 30
    pid = int((await bash.run("sleep 60 & echo \\<$!\\>", announces="<")).output.partition("<")[2].partition(">")[0])
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bash.call(WAIT_ANNOUNCED, WaitAnnouncedRequest(pid=pid, hold=min(hold, 1.0))))
        while (await bash.call(GET_CLOCKS)).actions_in_flight == 0:
            continue
    assert waiting.result() == ProcessState(announced=True, running=True)


async def test_a_zombie_has_ended() -> None:
    announced = Announced()
    with subprocess.Popen(["true"]) as process:  # noqa: ASYNC220 - one that nobody reaps meanwhile
        announced.note("", str(process.pid))
        state = await announced.wait(process.pid, 10, _nobody())
        assert state == ProcessState(announced=True, running=False)
        assert (await Announced().wait(process.pid, 0, _nobody())).running is False
    announced.close()


async def test_who_goes_away_waits_no_longer() -> None:
    announced, canceled = Announced(), _nobody()
    announced.note("pid ", f"pid {os.getpid()}")
    canceled.set_result(None)
    assert (await announced.wait(os.getpid(), 10, canceled)).running
    announced.close()


async def test_of_too_many_the_oldest_are_let_go() -> None:
    announced = Announced(limit=1)
    announced.note("pid ", f"pid {os.getpid()} pid {os.getppid()}")
    assert (await announced.wait(os.getpid(), 0, _nobody())).announced is False
    assert (await announced.wait(os.getppid(), 0, _nobody())).announced is True
    announced.close()


async def test_what_is_no_process_is_not_there() -> None:
    announced = Announced()
    announced.note("pid ", "pid 9999999999 pid 0")
    assert await announced.wait(2**31 - 1, 10, _nobody()) == ProcessState(announced=False, running=False)
