"""The rocklet's HTTP server: one listener, one engine behind it, one owner of all tasks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from rock.wire.codec import encode
from rock.wire.errors import InternalError, explain_malformed, to_body
from rock.wire.messages import RockletExit
from rock.wire.operations import REQUEST_ID_HEADER
from rocklet.config import Settings
from rocklet.dialects.body import JsonResponse
from rocklet.dialects.native import NativeDialect
from rocklet.dialects.swerex import PREFIX, SwerexDialect
from rocklet.engine import Engine
from rocklet.listener import BACKLOG, open_listener
from rocklet.tunnels.entrance import Tunnels
from rocklet.tunnels.forwarding import Forwarding, open_session

__all__ = ["Listening", "listen"]

log = logging.getLogger(__name__)

_SHUTDOWN_GRACE = 1.0  # seconds for replies that are being sent when the rocklet ends


class Listening:
    """A rocklet that answers."""

    def __init__(self, engine: Engine, port: int) -> None:
        self.engine = engine
        self.port = port

    async def wait_ended(self) -> RockletExit:
        """Why it is to end, once it is."""
        return await asyncio.shield(self.engine.ended)


@contextlib.asynccontextmanager
async def listen(
    settings: Settings, listener: socket.socket | None = None, *, adopt_orphans: bool = False
) -> AsyncIterator[Listening]:
    """Answer as long as the block runs; then end all commands.

    `listener` is the settings' socket, if it is open already.
    `adopt_orphans` makes the process the parent of all that its commands leave behind: only for one of our own.
    Raises OSError: the address cannot be listened on.
    """
    listener = listener or open_listener(settings)
    port: int = listener.getsockname()[1]
    async with open_session() as session, asyncio.TaskGroup() as tasks:
        engine = Engine(msgspec.structs.replace(settings, port=port), tasks, adopt_orphans=adopt_orphans)
        native = NativeDialect(engine, Tunnels(engine, Forwarding(session)), settings)
        swerex = SwerexDialect(engine, settings)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            is_swerex = settings.dialect == "swerex" or request.path.startswith(f"{PREFIX}/")
            try:
                return await (swerex if is_swerex else native).handle(request)
            except ConnectionAbortedError:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()  # which goes nowhere

        # handler_cancellation: a caller that goes away is seen at once, and what it had asked for is ended.
        server = _Server(handle, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_GRACE)
        try:
            await runner.setup()
            site = web.SockSite(runner, listener, backlog=BACKLOG)
            await site.start()
            log.info("sandbox %s listens on %s port %d", settings.sandbox_id, settings.host, port)
            yield Listening(engine, port)
            await site.stop()
        finally:
            await engine.close()
            await runner.cleanup()


class _Server(web.Server):
    """Makes connections on which also what is no HTTP is answered in our words."""

    def __call__(self) -> web.RequestHandler:
        loop = asyncio.get_running_loop()
        # aiohttp's own runner passes None for "no access log" too, whatever the annotation says.
        return _Connection(self, loop=loop, access_log=None)  # type: ignore[arg-type]


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp's parser says against what never became a request; of itself it would say it as plain text."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, and no other can follow")
        log.info("what cannot be read was sent: %r", exc)
        error = explain_malformed(message or "") if status < 500 else InternalError("the connection failed; retry")
        request_id = secrets.token_hex(16)
        body, headers = encode(to_body(error, request_id=request_id)), {REQUEST_ID_HEADER: request_id}
        response = JsonResponse(status, body, headers)
        response.force_close()
        return response
