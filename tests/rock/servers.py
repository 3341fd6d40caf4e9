"""Servers that answer on our wire what a test tells them to: fakes at the client's one seam."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from rock.wire import codec
from rock.wire import messages as m
from rock.wire.errors import RockException, Unauthorized, to_body
from rock.wire.operations import OPERATIONS, REQUEST_ID_HEADER, Operation

_T = TypeVar("_T")

_THREAD_TIMEOUT = 120.0  # seconds for what takes one on an idle machine: a module of tests falls over it

_ADDRESSES = (f"127.78.{n // 250}.{n % 250 + 1}" for n in itertools.count())


def fresh_host() -> str:
    """A loopback address of its own: what the process learns about one test's hosts must not reach another's."""
    return next(_ADDRESSES)


@dataclass
class Seen:
    """One request as it arrived."""

    operation: Operation[Any, Any]
    request: Any
    request_id: str
    headers: dict[str, str]
    body: bytes = b""
    http: web.Request | None = field(default=None, repr=False)

    def cut(self) -> None:
        """Lose the connection, as a killed server or a broken network does."""
        assert self.http is not None
        assert self.http.transport is not None
        self.http.transport.abort()


Answer = Callable[[Seen], Awaitable[msgspec.Struct | web.StreamResponse]]


@dataclass
class WireServer:
    """A gateway or a rocklet; `answers` says by operation what it does, `seen` what it was asked."""

    is_gateway: bool
    token: str | None = "secret"
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""

    def answer(self, operation: Operation[Any, Any]) -> Callable[[Answer], Answer]:
        """Say what an operation does."""

        def register(answer: Answer) -> Answer:
            self.answers[operation.name] = answer
            return answer

        return register

    def always(self, operation: Operation[Any, Any], result: msgspec.Struct | RockException) -> None:
        """Give an operation one answer."""

        async def answer(_seen: Seen) -> msgspec.Struct:
            if isinstance(result, RockException):
                raise result
            return result

        self.answers[operation.name] = answer

    def asked(self, operation: Operation[Any, Any]) -> list[Seen]:
        """The requests of one kind, in order."""
        return [seen for seen in self.seen if seen.operation is operation]

    def endpoint(self, sandbox_id: str = "s1") -> m.RockletEndpoint:
        """Where this rocklet listens."""
        return m.RockletEndpoint(sandbox_id=sandbox_id, url=self.url, token=self.token or "", alloc_id="a1")

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**26)
        for operation in OPERATIONS.values():
            if self.is_gateway or operation.served_by == "rocklet":
                path = operation.gateway_path if self.is_gateway else operation.path
                app.router.add_route(operation.method, path, self._handler(operation))
        return app

    def _handler(self, operation: Operation[Any, Any]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(http: web.Request) -> web.StreamResponse:
            body = await http.read()
            seen = Seen(
                operation=operation,
                request=codec.decode(operation.request, body)
                if operation.carries == "json"
                else codec.decode_query(operation.request, http.query.items()),
                request_id=http.headers[REQUEST_ID_HEADER],
                headers=dict(http.headers),
                body=body,
                http=http,
            )
            self.seen.append(seen)
            try:
                self._check(http, operation)
                answer = await self.answers[operation.name](seen)
            except RockException as error:
                content = msgspec.json.encode(to_body(error, request_id=seen.request_id))
                return web.Response(status=error.status, body=content, content_type="application/json")
            if isinstance(answer, web.StreamResponse):
                return answer
            return web.Response(body=codec.encode(answer), content_type="application/json")

        return handle

    def _check(self, http: web.Request, operation: Operation[Any, Any]) -> None:
        if self.token is None or operation.is_open:
            return
        if http.headers.get("Authorization") != f"Bearer {self.token}":
            raise Unauthorized("wrong token")


@asynccontextmanager
async def serve(server: WireServer, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[WireServer]:
    """Have a server listen for as long as the block runs."""
    runner = web.AppRunner(server.app(), handle_signals=False, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, fresh_host(), 0, ssl_context=tls)
    await site.start()
    bound: Any = site._server
    address, port = bound.sockets[0].getsockname()[:2]
    server.url = f"{'https' if tls else 'http'}://{address}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


@contextmanager
def black_hole() -> Iterator[str]:
    """A URL whose packets are dropped: a listener with a full backlog answers no SYN."""
    host = fresh_host()
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex((host, port))
            yield f"http://{host}:{port}"
        finally:
            for filler in fillers:
                filler.close()


def refused_url() -> str:
    """A URL at which nothing listens."""
    host = fresh_host()
    with socket.socket() as closed:
        closed.bind((host, 0))
        return f"http://{host}:{closed.getsockname()[1]}"


@contextmanager
def in_thread(context: AbstractAsyncContextManager[_T]) -> Iterator[_T]:
    """Have an asynchronous context live in a loop and thread of its own; the test's calls come from other loops."""
    entered: concurrent.futures.Future[_T] = concurrent.futures.Future()
    leave: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def live() -> None:
        try:
            async with context as value:
                entered.set_result(value)
                await asyncio.wrap_future(leave)
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        living = threads.submit(asyncio.run, live())
        try:
            yield entered.result(_THREAD_TIMEOUT)
        finally:
            leave.set_result(None)
            living.result(_THREAD_TIMEOUT)


def running(sandbox_id: str = "s1", rocklet: m.RockletEndpoint | None = None) -> m.SandboxStatus:
    """The status of a running sandbox."""
    return m.SandboxStatus(
        sandbox_id=sandbox_id,
        state=m.State.RUNNING,
        node="node-1",
        host_ip="10.0.0.7",
        observed_by="rocklet",
        rocklet=rocklet,
    )
