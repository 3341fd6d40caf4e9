"""A command does in a session what it does in a plain `bash -c`, on every wire: random scripts, run in each."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings

from rock.wire.messages import CreateSessionRequest, SessionRequest
from rock.wire.operations import CLOSE_SESSION, CREATE_SESSION
from tests.rocklet.callers import TOKEN, Caller
from tests.rocklet.dialects.swerex.conftest import Swerex
from tests.rocklet.sessions.scripts import scripts

pytestmark = pytest.mark.slow

SCRIPTS = int(os.environ.get("ROCK_SCRIPTS", "30"))
"""How many there are."""

_START = 60.0  # seconds for a shell to start; it takes a hundredth of one on a quiet machine
_HANG = 60.0  # seconds for a script; likewise
_OWN_WORDS = re.compile(
    r"\[\d+\] \d+\n"  # a job was begun
    r"|\[\d+\][-+ ] +(?:Done|Exit \d+|Terminated|Killed)\b.*\n"  # and has ended
    r"|line \d+: "  # where an error is
    r"|exit\n"  # farewell
)
"""What an interactive shell says of itself and a plain one does not, or says otherwise."""


async def run_plainly(script: str, folder: Path) -> tuple[str, int]:
    """Run a script in a bash of its own."""
    env = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=folder, env=env
    )
    async with asyncio.timeout(_HANG):
        printed, _ = await process.communicate()
    assert process.returncode is not None
    return printed.decode(), process.returncode


async def run_natively(caller: Caller, script: str, folder: Path) -> tuple[str, int | None]:
    """Run a script in a session of its own."""
    await caller.call(CREATE_SESSION, CreateSessionRequest(cwd=str(folder), startup_timeout=_START))
    done = await caller.run(script, timeout=_HANG)
    await caller.call(CLOSE_SESSION, SessionRequest())
    return done.output, done.exit_code


async def run_as_swerex_does(swerex: Swerex, script: str, folder: Path) -> tuple[str, int | None]:
    """Likewise, on SWE-ReX's wire."""
    await swerex.call("create_session", session_type="bash", startup_timeout=_START)
    await swerex.run(f"cd {folder}")
    done = await swerex.run(script, check="silent", timeout=_HANG)
    await swerex.call("close_session", session_type="bash")
    return done["output"], done["exit_code"]


@pytest.fixture
async def swerex(caller: Caller) -> AsyncIterator[Swerex]:
    """A client of SWE-ReX's wire, of the same rocklet."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{caller.port}", headers={"X-API-Key": TOKEN}) as http:
        yield Swerex(http)


@settings(max_examples=SCRIPTS, deadline=None, suppress_health_check=list(HealthCheck))
@given(script=scripts)
async def test_a_script_prints_and_returns_what_it_does_in_a_plain_bash(
    caller: Caller, swerex: Swerex, tmp_path: Path, script: str
) -> None:
    folder = tmp_path / "here"  # the same for all, and empty, since some print it

    async def seen(run: Callable[[str, Path], Awaitable[tuple[str, int | None]]]) -> tuple[str, int | None]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        output, exit_code = await run(script, folder)
        return _OWN_WORDS.sub("", output), exit_code

    expected = await seen(run_plainly)
    assert await seen(lambda *what: run_natively(caller, *what)) == expected
    # There, text has line ends of its own.
    output, exit_code = await seen(lambda *what: run_as_swerex_does(swerex, *what))
    assert (output, exit_code) == (expected[0].replace("\r\n", "\n"), expected[1])
