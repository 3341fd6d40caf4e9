"""A server that says nothing of interest and remembers what it was asked: for what our clients send, and how."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: str


@dataclass
class Recorder:
    """The server: answers every path with what `answers` says for it, or with an empty object."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    pages: dict[str, list[str]] = field(default_factory=dict)
    """What each further page of a path's listing is called."""
    headers: dict[str, str] = field(default_factory=lambda: {"X-Nomad-Index": "7", "X-Consul-Index": "7"})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Remember and answer."""
        query = {key: request.query.getall(key) for key in request.query}
        self.seen.append(Seen(request.method, request.path, query, dict(request.headers), await request.text()))
        status, data = self.answers.get(request.path, (200, {}))
        pages = self.pages.get(request.path)
        headers = {**self.headers, **({"X-Nomad-NextToken": pages.pop(0)} if pages else {})}
        if isinstance(data, bytes):
            return web.Response(status=status, body=data, headers=headers)
        return web.json_response(data, status=status, headers=headers)


@asynccontextmanager
async def record(tls: ssl.SSLContext | None = None) -> AsyncIterator[Recorder]:
    """A recorder on a port of its own."""
    recorder = Recorder()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        recorder.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        yield recorder
    finally:
        await runner.cleanup()
