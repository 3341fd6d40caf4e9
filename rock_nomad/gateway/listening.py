"""Where the gateway is reached: connections, on which also what is no HTTP is answered in our words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from rock.wire.errors import InternalError, explain_malformed
from rock.wire.operations import REQUEST_ID_HEADER
from rock_nomad.gateway.calls import new_request_id
from rock_nomad.gateway.dialects.native import Native

__all__ = ["listen"]

SHUTDOWN_TIMEOUT = 5.0  # seconds for calls that are still served; their clients go on at another replica
MAX_LINE = 64 * 1024  # bytes of a request's first line: a path of 4,096 characters is nine times as long in a URL
BACKLOG = 1024  # connections that wait to be accepted

log = logging.getLogger(__name__)


@asynccontextmanager
async def listen(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve an application at the address that is yielded; port 0 takes any free one.

    Raises OSError: the address cannot be listened on.
    """
    # A client that goes away cancels its handler, which closes the way to the rocklet.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_TIMEOUT, handle_signals=False)
    await runner.setup()
    try:
        manager = runner.server
        assert manager is not None  # the set-up makes it
        listener = await asyncio.get_running_loop().create_server(
            lambda: _Connection(manager), host, port, backlog=BACKLOG
        )
        try:
            name, bound = listener.sockets[0].getsockname()[:2]
            yield f"http://[{name}]:{bound}" if ":" in name else f"http://{name}:{bound}"
        finally:
            listener.close()
    finally:
        await runner.cleanup()


class _Connection(web.RequestHandler):
    __slots__ = ()

    def __init__(self, manager: web.Server) -> None:
        loop = asyncio.get_running_loop()
        # aiohttp's own runner passes None for "no access log" too, whatever the annotation says.
        super().__init__(manager, loop=loop, access_log=None, max_line_size=MAX_LINE)  # type: ignore[arg-type]

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
        log.info("%s sent what cannot be read: %r", request.remote, exc)
        error = explain_malformed(message or "") if status < 500 else InternalError("the connection failed; retry")
        request_id = new_request_id()
        response = Native().encode_error(error, status, request_id)
        response.headers[REQUEST_ID_HEADER] = request_id
        response.force_close()
        return response
