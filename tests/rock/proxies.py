"""What stands between a client and its server: an HTTP proxy, and a relay that loses connections when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

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


@asynccontextmanager
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


@asynccontextmanager
async def run_proxy() -> AsyncIterator[Proxy]:
    """A proxy on a free port of loopback."""
    proxy = Proxy()
    async with _listening(proxy.handle) as proxy.url:
        yield proxy


@dataclass
class Relay:
    """A relay of bytes to one server; while it is `armed`, the next answer is lost with its connection.

    While it is `down` no connection comes about.
    """

    target: str
    url: str = ""
    armed: bool = False
    down: bool = False
    lost: int = 0
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
        while piece := await upstream.read(65536):
            if self.armed:
                self.armed, self.lost = False, self.lost + 1
                writer.transport.abort()
                return
            writer.write(piece)
        writer.close()


@asynccontextmanager
async def run_relay(target: str) -> AsyncIterator[Relay]:
    """A relay on a free port of loopback."""
    relay = Relay(target)
    async with _listening(relay.handle) as relay.url:
        yield relay
