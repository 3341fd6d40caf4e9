"""The rocklet's HTTP server: one listener, one engine behind it, one owner of all tasks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from rock.wire.messages import RockletExit
from rocklet.config import Settings
from rocklet.dialects.native import NativeDialect
from rocklet.dialects.swerex import PREFIX, SwerexDialect
from rocklet.engine import Engine
from rocklet.tunnels.entrance import Tunnels
from rocklet.tunnels.forwarding import Forwarding, open_session

__all__ = ["Listening", "listen"]

log = logging.getLogger(__name__)

_BACKLOG = 512  # connections that wait to be accepted
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
async def listen(settings: Settings, *, adopt_orphans: bool = False) -> AsyncIterator[Listening]:
    """Answer as long as the block runs; then end all commands.

    `adopt_orphans` makes the process the parent of all that its commands leave behind: only for one of our own.
    Raises OSError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    port: int = listener.getsockname()[1]
    async with open_session() as session, asyncio.TaskGroup() as tasks:
        engine = Engine(msgspec.structs.replace(settings, port=port), tasks, adopt_orphans=adopt_orphans)
        native = NativeDialect(engine, Tunnels(engine, Forwarding(session)), settings.token_sha256)
        swerex = SwerexDialect(engine, settings.token_sha256)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            is_swerex = settings.dialect == "swerex" or request.path.startswith(f"{PREFIX}/")
            try:
                return await (swerex if is_swerex else native).handle(request)
            except ConnectionAbortedError:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()  # which goes nowhere

        # handler_cancellation: a caller that goes away is seen at once, and what it had asked for is ended.
        server = web.Server(handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_GRACE)
        try:
            await runner.setup()
            site = web.SockSite(runner, listener, backlog=_BACKLOG)
            await site.start()
            log.info("sandbox %s listens on %s port %d", settings.sandbox_id, settings.host, port)
            yield Listening(engine, port)
            await site.stop()
        finally:
            await engine.close()
            await runner.cleanup()
