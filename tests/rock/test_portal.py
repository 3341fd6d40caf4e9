from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from rock import _portal


async def _loop_and_thread() -> tuple[asyncio.AbstractEventLoop, int]:
    return asyncio.get_running_loop(), threading.get_ident()


def test_all_callers_of_a_process_share_one_loop_in_another_thread() -> None:
    seen = [_portal.run(_loop_and_thread()) for _ in range(2)]
    threads = [threading.Thread(target=lambda: seen.append(_portal.run(_loop_and_thread()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(loop) for loop, _ in seen}) == 1
    assert {ident for _, ident in seen} != {threading.get_ident()}


async def test_it_works_where_a_loop_runs_already() -> None:
    loop, _ = _portal.run(_loop_and_thread())
    assert loop is not asyncio.get_running_loop()


def test_an_error_reaches_the_caller() -> None:
    async def fail() -> None:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        _portal.run(fail())


@pytest.mark.slow
def test_a_forked_child_makes_its_own() -> None:
    _portal.run(_loop_and_thread())
    child = os.fork()
    if child == 0:
        _portal.run(_loop_and_thread())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.slow
def test_the_process_ends_in_silence_and_lets_what_was_cancelled_finish() -> None:
    program = """
import asyncio, signal, os, threading
from rock import _portal

async def work():
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.1)
        print("tidied", flush=True)

threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    _portal.run(work())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\ntidied\n", "")


async def test_whoever_has_a_loop_may_block_it() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert _portal.run_until_complete(work()) == 7
