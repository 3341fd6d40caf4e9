"""A rocklet in the test's own process, on a free port, and a client that speaks the wire."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from rock.wire.messages import CreateSessionRequest
from rock.wire.operations import CREATE_SESSION
from rocklet.config import Settings
from rocklet.server import listen
from tests.rocklet.callers import TOKEN, Caller


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """What the rocklet is told."""
    home = tmp_path / "home"
    home.mkdir()
    return Settings(
        sandbox_id="s-test",
        token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest(),
        host="127.0.0.1",
        home=str(home),
        env={"GREETING": "hello"},
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
