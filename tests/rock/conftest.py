"""Sandboxes for the client's tests: a real rocklet in a process of its own, behind a gateway that only points to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.wire import messages as m
from rock.wire.operations import CREATE_SANDBOX, GET_SANDBOX, RESOLVE_ROCKLET, STOP_SANDBOX
from tests.rock.servers import Seen, WireServer, running, serve
from tests.rocklets import start_rocklet


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own decides where a test's calls go."""
    for name in ("ROCK_BASE_URL", "ROCK_API_KEY", "ROCK_DIRECT", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("ROCK_CREDENTIALS_FILE", str(tmp_path / "credentials.json"))


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[m.RockletEndpoint]:
    """A rocklet that listens."""
    home = tmp_path / "home"
    home.mkdir()
    async with start_rocklet(sandbox_id="s1", home=home) as (url, token, _process):
        yield m.RockletEndpoint(sandbox_id="s1", url=url, token=token, alloc_id="a1")


@pytest.fixture
async def gateway(endpoint: m.RockletEndpoint) -> AsyncIterator[WireServer]:
    """A gateway whose one sandbox is that rocklet."""
    async with serve(WireServer(is_gateway=True)) as server:

        @server.answer(CREATE_SANDBOX)
        async def _(seen: Seen) -> m.SandboxStatus:
            return running(seen.request.spec.sandbox_id, endpoint)

        server.always(GET_SANDBOX, running("s1", endpoint))
        server.always(RESOLVE_ROCKLET, endpoint)
        server.always(STOP_SANDBOX, m.SandboxStatus(sandbox_id="s1", state=m.State.STOPPED))
        yield server


@pytest.fixture
async def sandbox(gateway: WireServer) -> Sandbox:
    """A started sandbox."""
    sandbox = Sandbox(SandboxConfig(base_url=gateway.url, api_key="secret", sandbox_id="s1", direct="always"))
    await sandbox.start()
    return sandbox
