"""What stands between a client and its server.

An HTTP proxy; a relay that loses connections when it is told to; and a saboteur that picks one exchange of many.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

_Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Proxy:
    """A proxy that listens; `targets` are the authorities it was asked to reach."""

    url: str = ""
    targets: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        method, target, _ = head.split(b" ", 2)
        is_tunnel = method == b"CONNECT"
        authority = target.decode() if is_tunnel else urlsplit(target.decode()).netloc
        self.targets.append(authority)
        host, _, port = authority.rpartition(":")
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        if is_tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            upstream_writer.write(head)
        await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))


@contextlib.asynccontextmanager
async def _listening(handle: _Handle) -> AsyncIterator[str]:
    """A URL at which every connection is handled, and ended with the block."""
    handling: set[asyncio.Task[None] | None] = set()

    async def own(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.current_task())
        try:
            await handle(reader, writer)
        finally:
            writer.transport.abort()
            handling.discard(asyncio.current_task())

    server = await asyncio.start_server(own, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        tasks = [task for task in handling if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # one side went away; the other learns it by the close
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def run_proxy() -> AsyncIterator[Proxy]:
    """A proxy on a free port of loopback."""
    proxy = Proxy()
    async with _listening(proxy.handle) as proxy.url:
        yield proxy


@dataclass
class Relay:
    """A relay of bytes to one server; while it is `armed`, the next answer is lost with its connection.

    While it is `down` no connection comes about.  Each of `losses` is how many bytes of answers one connection more
    carries before it is lost.
    """

    target: str
    url: str = ""
    armed: bool = False
    down: bool = False
    lost: int = 0
    losses: list[int] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection to its end."""
        if self.down:
            return
        target = urlsplit(self.target)
        upstream_reader, upstream_writer = await asyncio.open_connection(target.hostname, target.port)
        self._open.add(writer)
        try:
            await asyncio.gather(_pump(reader, upstream_writer), self._answer(upstream_reader, writer))
        finally:
            self._open.discard(writer)
            upstream_writer.transport.abort()

    def cut(self) -> None:
        """Lose every connection that there is."""
        for writer in self._open:
            writer.transport.abort()
            self.lost += 1

    async def _answer(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried = 0
        while piece := await upstream.read(65536):
            carried += len(piece)
            if self.losses and carried > self.losses[0]:
                writer.write(piece[: len(piece) - (carried - self.losses.pop(0))])
                await writer.drain()
                self.lost += 1
                writer.transport.abort()
                return
            if self.armed:
                self.armed, self.lost = False, self.lost + 1
                writer.transport.abort()
                return
            writer.write(piece)
        writer.close()


@contextlib.asynccontextmanager
async def run_relay(target: str) -> AsyncIterator[Relay]:
    """A relay on a free port of loopback."""
    relay = Relay(target)
    async with _listening(relay.handle) as relay.url:
        yield relay


Spoiling = Literal["cut before", "cut after", "fail", "pass"]
"""An exchange: its request is lost, or its answer, or its answer is an error; or nothing is done to it."""


@dataclass
class Saboteur:
    """A proxy before one HTTP server that spoils the exchange of its choice, and the later ones if it `lasts`."""

    target: str
    session: aiohttp.ClientSession
    url: str = ""
    spoiling: Spoiling = "pass"
    left: int = 0
    """Exchanges until it strikes."""
    lasts: bool = False
    on_strike: Callable[[], object] = lambda: None
    """Told when it strikes: after the server has answered, unless it never gets the request."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass on one exchange, or spoil it."""
        spoiling = self._choose(request)
        if spoiling == "fail":
            self.on_strike()
            return web.Response(status=500, text="rpc error: No cluster leader")
        if spoiling == "cut before":
            return self._cut(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        url = f"{self.target}{request.path_qs}"
        async with self.session.request(request.method, url, headers=headers, data=await request.read()) as reply:
            if spoiling == "cut after":
                await reply.read()
                return self._cut(request)
            if spoiling == "pass" and self.left == 0 and not self._is_stream(request):
                self.left = -1
                self.on_strike()
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=reply.status, headers=kept)
            with contextlib.suppress(ConnectionError):  # its client is gone
                await response.prepare(request)
                async for piece in reply.content.iter_any():
                    await response.write(piece)
            return response

    def _choose(self, request: web.Request) -> Spoiling:
        if self._is_stream(request):
            return "pass"
        self.left -= 1
        return self.spoiling if self.left == 0 or (self.lasts and self.left < 0) else "pass"

    @staticmethod
    def _is_stream(request: web.Request) -> bool:
        return request.path == "/v1/event/stream"

    def _cut(self, request: web.Request) -> web.Response:
        self.on_strike()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


_HOP_BY_HOP = frozenset({"host", "connection", "content-length", "transfer-encoding"})


@contextlib.asynccontextmanager
async def run_saboteur(target: str) -> AsyncIterator[Saboteur]:
    """A saboteur on a free port of loopback."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:
        saboteur = Saboteur(target, session)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", saboteur.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            saboteur.url = "http://{}:{}".format(*runner.addresses[0][:2])
            yield saboteur
        finally:
            await runner.cleanup()
