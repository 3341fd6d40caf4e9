"""What both APIs share: the fence, blocking queries, connection limits, and serving on loopback."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import msgspec
from aiohttp import web

from rock_nomad.embedded.errors import Refused, Unsupported
from rock_nomad.embedded.routes import Route
from rock_nomad.embedded.units import SECOND, parse_duration
from rock_nomad.embedded.watches import Watches

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DEFAULT_WAIT = 300.0  # seconds, as both agents
_MAX_WAIT = 600.0
_MAX_BODY = 16 * 1024 * 1024
_SHUTDOWN = 1.0  # seconds for open requests when the server ends


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A reply with a JSON body."""
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def build_application(
    routes: Iterable[Route], handlers: Mapping[str, Handler], common: frozenset[str]
) -> web.Application:
    """An application that answers these routes with these parameters, and names whatever else is asked."""
    application = web.Application(client_max_size=_MAX_BODY)
    for route in routes:
        handler = _fenced(handlers[route.name], route.query | common)
        # Not add_get: that would answer HEAD as well, which nobody sends.
        application.router.add_route(route.method, route.path, handler)
    application.router.add_route("*", "/{unknown:.*}", _answer_unknown)
    return application


def _fenced(handler: Handler, known: frozenset[str]) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            if unknown := sorted(set(request.query) - known):
                raise Unsupported(f"the query parameter {unknown[0]!r} of {request.method} {request.path}")
            return await handler(request)
        except Refused as refusal:
            return web.Response(status=refusal.status, text=refusal.text)

    return answer


async def _answer_unknown(request: web.Request) -> web.StreamResponse:
    refusal = Unsupported(f"{request.method} {request.path}")
    return web.Response(status=refusal.status, text=refusal.text)


@dataclass(frozen=True)
class BlockingQuery:
    """The `index` and `wait` of a request."""

    index: int
    wait: float  # seconds

    @classmethod
    def from_request(cls, request: web.Request) -> "BlockingQuery":
        """What the request says.

        Raises Refused: in the agents' words.
        """
        try:
            index = int(request.query.get("index") or 0)
        except ValueError:
            raise Refused(400, "Invalid index") from None
        try:
            wait = parse_duration(request.query["wait"]) / SECOND if request.query.get("wait") else _DEFAULT_WAIT
        except ValueError:
            raise Refused(400, "Invalid wait time") from None
        return cls(index, min(wait, _MAX_WAIT))

    async def until_newer(self, read_index: Callable[[], int], watches: Watches, key: Hashable) -> None:
        """Return once the index is beyond the query's, or the wait is over; at once if it does not block."""
        # The agents add up to a sixteenth, so that a thousand waits do not end in one moment.
        wait = self.wait * (1 + random.random() / 16)  # noqa: S311 - spreads load
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while self.index > 0 and read_index() <= self.index:
                    await watches.wait(key)


class _LimitedHandler(web.RequestHandler):
    """A connection that counts against its client's limit, and is refused beyond it."""

    __slots__ = ("_counts", "_limit", "_peer")

    def __init__(self, server: web.Server, counts: Counter[str], limit: int) -> None:
        # aiohttp's own runner passes None for "no access log" too, whatever the annotation says.
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type]
        self._counts, self._limit = counts, limit
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer = str(transport.get_extra_info("peername")[0])
        self._counts[self._peer] += 1
        if self._counts[self._peer] > self._limit and isinstance(transport, asyncio.Transport):
            text = b"Your IP is issuing too many concurrent connections, please rate limit your calls\n"
            head = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            transport.write(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)
            transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._counts[self._peer] -= 1


@contextlib.asynccontextmanager
async def serve(application: web.Application, port: int, *, connections_per_client: int) -> AsyncIterator[str]:
    """Listen on loopback and yield the address as `host:port`; port 0 takes any free one."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    counts: Counter[str] = Counter()
    manager = runner.server
    if manager is None:
        raise RuntimeError("the runner has no server after its setup")
    server = await asyncio.get_running_loop().create_server(
        lambda: _LimitedHandler(manager, counts, connections_per_client), "127.0.0.1", port, backlog=1024
    )
    try:
        host, bound = server.sockets[0].getsockname()[:2]
        yield f"{host}:{bound}"
    finally:
        server.close()
        await manager.shutdown(_SHUTDOWN)
        await runner.cleanup()
