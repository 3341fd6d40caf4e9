"""Rocklets for tests: real processes, as a job starts them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator

__all__ = ["TOKEN", "read_port", "rocklet_environment", "start_rocklet"]

TOKEN = "a token of tests"
_START_TIMEOUT = 120.0  # seconds; it takes 0.3 on an idle machine
_END_TIMEOUT = 60.0  # seconds
_LISTENING = re.compile(rb"listens on \S+ port (\d+)")


def rocklet_environment(**settings: object) -> dict[str, str]:
    """The variables of a job: `idle_timeout=3` becomes ROCKLET_IDLE_TIMEOUT; dicts and lists become JSON."""
    told: dict[str, object] = {
        "sandbox_id": "s-test",
        "token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest(),
        "port": 0,
        **settings,
    }
    environ = {"PATH": os.environ["PATH"]}
    for name, value in told.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        environ[f"ROCKLET_{name.upper()}"] = text
    return environ


@contextlib.asynccontextmanager
async def start_rocklet(*wrapper: str, **settings: object) -> AsyncIterator[tuple[str, str, Process]]:
    """A rocklet on a free port of 127.0.0.1: its address, its token, its process.  It is ended with the block.

    `wrapper` is a command that replaces itself by the one which follows it.
    """
    process = await asyncio.create_subprocess_exec(
        *(*wrapper, sys.executable, "-m", "rocklet", "--host", "127.0.0.1"),
        env=rocklet_environment(**settings),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            port = await read_port(process)
        async with asyncio.TaskGroup() as tasks:
            drain = tasks.create_task(_drain(process), name="the rocklet's log")
            try:
                yield f"http://127.0.0.1:{port}", TOKEN, process
            finally:
                await _stop(process)
                await drain
    finally:
        await _stop(process)


async def read_port(process: Process) -> int:
    """The port of a rocklet, once it listens."""
    assert process.stderr is not None
    log = b""
    while line := await process.stderr.readline():
        log += line
        if found := _LISTENING.search(line):
            return int(found[1])
    raise AssertionError(f"the rocklet ended with {await process.wait()}: {log.decode()}")


async def _drain(process: Process) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        sys.stderr.write(line.decode())


async def _stop(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_END_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
