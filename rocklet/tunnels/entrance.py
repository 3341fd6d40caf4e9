"""Where tunnels begin: which one a path names, and who serves it."""

from __future__ import annotations

import re

from aiohttp import web

from rock.wire import codec
from rock.wire.commands import FollowCommandRequest
from rock.wire.tunnels import ATTACH_COMMAND, CONNECT_PORT, FORWARD_PORT, TUNNELS, ConsoleRequest, Tunnel
from rocklet.engine import Engine
from rocklet.tunnels.commands import serve_command
from rocklet.tunnels.forwarding import Forwarding, Way, connect_tcp
from rocklet.tunnels.terminal import serve_console
from rocklet.tunnels.websockets import require_websocket

__all__ = ["Tunnels", "find_tunnel"]

_PLACES = {"{port}": "(?P<port>[^/]*)", "{path}": "(?P<path>.*)"}


def _pattern(tunnel: Tunnel) -> re.Pattern[str]:
    text = re.escape(tunnel.path)
    for place, expression in _PLACES.items():
        text = text.replace(re.escape(place), expression)
    return re.compile(text, re.DOTALL)


_PATTERNS = [(_pattern(tunnel), tunnel) for tunnel in TUNNELS.values()]


def find_tunnel(request: web.BaseRequest) -> tuple[Tunnel, dict[str, str]] | None:
    """The tunnel that a request's path names, and what stands at its places, as the caller has encoded it."""
    for pattern, tunnel in _PATTERNS:
        if found := pattern.fullmatch(request.rel_url.raw_path):
            return tunnel, found.groupdict()
    return None


class Tunnels:
    """Serves tunnels.  Each holds the idle clock as long as it is open."""

    def __init__(self, engine: Engine, forwarding: Forwarding) -> None:
        self._engine, self._forwarding = engine, forwarding

    async def serve(self, request: web.BaseRequest, request_id: str) -> web.StreamResponse:
        """A tunnel from its beginning to its end.

        Raises RouteNotFound, InvalidRequest; Forbidden, PortClosed: of a port; CommandFailed: of a console;
        CommandNotFound.
        """
        found = find_tunnel(request)
        assert found is not None
        tunnel, places = found
        with self._engine.in_use():
            if tunnel is FORWARD_PORT:
                way = Way(*await self._engine.locate_port(places["port"]))
                return await self._forwarding.forward_http(request, request_id, way, places["path"])
            require_websocket(request)
            if tunnel is CONNECT_PORT:
                way = Way(*await self._engine.locate_port(places["port"]))
                return await connect_tcp(request, request_id, way)
            if tunnel is ATTACH_COMMAND:
                wanted = codec.decode_query(FollowCommandRequest, request.query.items())
                return await serve_command(request, request_id, self._engine, wanted)
            asked = codec.decode_query(ConsoleRequest, request.query.items())
            console = self._engine.open_console(asked)
            return await serve_console(request, request_id, console, heartbeat=asked.heartbeat)
