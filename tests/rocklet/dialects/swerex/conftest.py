"""Somebody who calls a rocklet as a client of SWE-ReX does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from rocklet.config import Settings
from rocklet.server import listen
from tests.rocklet.callers import TOKEN


class Swerex:
    """Calls routes by their names."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def call(self, name: str, *, request_id: object = None, **fields: object) -> dict[str, Any]:
        """The reply's body; an exception that came over is raised as LookupError(class path, message)."""
        headers = {"X-Request-ID": str(request_id)} if request_id else {}
        async with self.http.post(f"/swerex/{name}", json=fields, headers=headers) as reply:
            body: dict[str, Any] = await reply.json()
            if reply.status == 511:
                fault = body["swerexception"]
                raise LookupError(fault["class_path"], fault["message"])
            assert reply.status == 200, (reply.status, body)
            return body

    async def run(self, command: str, **fields: object) -> dict[str, Any]:
        """Run a command in the session."""
        return await self.call("run_in_session", **{"action_type": "bash", "command": command, **fields})

    async def upload(self, data: bytes, **fields: str) -> tuple[int, Any]:
        """Status and body of an upload."""
        form = aiohttp.FormData()
        form.add_field("file", data, filename="file")
        for name, value in fields.items():
            form.add_field(name, value)
        async with self.http.post("/swerex/upload", data=form) as reply:
            return reply.status, json.loads(await reply.read())


@pytest.fixture
async def swerex(settings: Settings) -> AsyncIterator[Swerex]:
    """A rocklet, and a client of SWE-ReX's wire."""
    async with (
        listen(settings) as listening,
        aiohttp.ClientSession(f"http://127.0.0.1:{listening.port}", headers={"X-API-Key": TOKEN}) as http,
    ):
        yield Swerex(http)


@pytest.fixture
async def bash(swerex: Swerex) -> Swerex:
    """The same, with a session."""
    assert await swerex.call("create_session", session_type="bash") == {"output": "", "session_type": "bash"}
    return swerex
