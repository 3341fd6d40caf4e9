"""The peers, as published: swe-rex's remote runtime, and the rocklet of ROCK.  Both speak swe-rex's wire.

They run by uvicorn on asyncio's own loop, for neither brings uvloop along.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import msgspec
from aiohttp import ClientSession, FormData
from yarl import URL

from rock_nomad.bench.calls import send
from tests.bench.programs import Program
from tests.published import find_packages

__all__ = ["Peer", "PeerMissing", "peer_programs"]

_TOKEN = "bench"
_BASH = {"session_type": "bash"}
_OF_SANDBOX = {"sandbox_id": "bench"}  # ROCK demands it, and swe-rex overlooks it


class PeerMissing(Exception):
    """A peer cannot be had on this machine."""


class Peer:
    """A client of either peer, at an address."""

    def __init__(self, http: ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def run(self, command: str, session: str) -> None:
        """Run a command in a session."""
        action = {"action_type": "bash", "command": command, "session": session, "check": "silent"}
        await self._post("run_in_session", action)

    async def create(self, session: str) -> None:
        """Start a session."""
        await self._post("create_session", {**_BASH, "session": session, "startup_timeout": 30})

    async def close(self, session: str) -> None:
        """End a session."""
        await self._post("close_session", {**_BASH, "session": session})

    async def execute(self, *command: str) -> None:
        """Run a program without a session."""
        await self._post("execute", {"command": command})

    async def write(self, path: str, content: str) -> None:
        """Write a file."""
        await self._post("write_file", {"path": path, "content": content})

    async def read(self, path: str) -> None:
        """Read a file."""
        await self._post("read_file", {"path": path})

    async def upload(self, path: str, content: bytes) -> None:
        """Write a file by an upload."""
        form = FormData({"target_path": path, "unzip": "false"})
        form.add_field("file", io.BytesIO(content), filename="file")
        async with self._http.post(f"{self._url}/upload", data=form, headers={"X-API-Key": _TOKEN}) as response:
            assert response.status == 200, await response.text()

    async def is_alive(self) -> None:
        """Ask whether it lives."""
        status, answer = await send(self._http, "GET", URL(f"{self._url}/is_alive"), b"", {"X-API-Key": _TOKEN})
        assert status == 200, answer

    async def _post(self, path: str, body: Mapping[str, object]) -> None:
        headers = {"Content-Type": "application/json", "X-API-Key": _TOKEN}
        url = URL(f"{self._url}/{path}")
        status, answer = await send(self._http, "POST", url, msgspec.json.encode({**body, **_OF_SANDBOX}), headers)
        assert status == 200, answer


_PUBLISHED = {
    "SWE-ReX 1.4": ("swe-rex==1.4.0", ["-m", "swerex.server", "--auth-token", _TOKEN]),
    "ROCK 1.11": ("rl-rock[rocklet]==1.11.0", ["-m", "rock.rocklet.server"]),
}


def peer_programs(http: ClientSession) -> list[Program]:
    """The peers, installed on first use.

    Raises PeerMissing: one is not cached, and cannot be installed.
    """

    async def first_command(url: str) -> None:
        peer = Peer(http, url)
        await peer.create("first")
        await peer.run("echo hi", "first")

    return [
        Program(
            name=name,
            command=[str(_find_python(requirement)), *arguments, "--host", "127.0.0.1", "--port", "0"],
            first_command=first_command,
        )
        for name, (requirement, arguments) in _PUBLISHED.items()
    ]


def _find_python(requirement: str) -> Path:
    packages = find_packages(requirement)
    if packages is None:
        raise PeerMissing(f"no {requirement}: not cached, and cannot be installed; measure without --peers")
    return packages.parents[2] / "bin" / "python"
