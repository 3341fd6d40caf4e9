"""A rocklet in the test's own process, on a free port, and a client that speaks the wire."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from rock.wire.messages import CreateSessionRequest
from rock.wire.operations import CREATE_SESSION
from rocklet.config import Settings
from rocklet.server import listen
from tests import sandbox_server
from tests.rocklet.callers import TOKEN, Caller

Serve = Callable[..., contextlib.AbstractAsyncContextManager[int]]


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """What the rocklet is told; a test may parametrize it with what else that is."""
    home = tmp_path / "home"
    home.mkdir()
    return Settings(
        sandbox_id="s-test",
        token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest(),
        host="127.0.0.1",
        home=str(home),
        env={"GREETING": "hello"},
        **getattr(request, "param", {}),
    )


@pytest.fixture
async def caller(settings: Settings) -> AsyncIterator[Caller]:
    """A rocklet that answers, and somebody who may call it."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        listen(settings) as listening,
        aiohttp.ClientSession(f"http://127.0.0.1:{listening.port}", headers=headers) as http,
    ):
        yield Caller(http, listening)


@pytest.fixture
async def bash(caller: Caller) -> Caller:
    """The same, with a session."""
    await caller.call(CREATE_SESSION, CreateSessionRequest())
    return caller


@pytest.fixture
def serve() -> Serve:
    """Starts a server in the sandbox, which is whatever is below this process, on an address; tells its port."""

    @contextlib.asynccontextmanager
    async def start(host: str, *options: str) -> AsyncIterator[int]:
        argv = (sys.executable, sandbox_server.__file__, host, *options)
        process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE)
        try:
            assert process.stdout is not None
            yield int(await process.stdout.readline())
        finally:
            process.terminate()
            await process.wait()

    return start


@pytest.fixture
async def server(serve: Serve) -> AsyncIterator[int]:
    """The port of a server in the sandbox."""
    async with serve("127.0.0.1") as port:
        yield port


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False).returncode:
        pytest.skip("no small disk: only root may mount")
    yield disk
    subprocess.run(["umount", disk], check=True)
