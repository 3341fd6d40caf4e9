"""ROCK's wire to ports in a sandbox: where it finds them, how it names a port, and in which words it refuses one.

Source of paths, codes and texts: rl-rock 1.11, `sandbox_proxy` routes and their user guide, which has them without the
prefix; so both forms are served.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from rock.wire.errors import Forbidden, PortClosed, RockException, SandboxEnded, SandboxNotFound
from rock.wire.operations import PREFIX
from rock_nomad.gateway.calls import current_caller
from rock_nomad.gateway.roles import Gate
from rock_nomad.gateway.tunnels import Refused, Target, Tunnels, offered_protocols
from rock_nomad.gateway.websockets import accept, is_websocket, join
from rock_nomad.names import check_sandbox_id

__all__ = ["BadPort", "add_rock_ports", "choose_port"]

_ROOTS = ("/apis/envs/sandbox/v1", "")
_SERVER_PORT, _VNC_PORT = 8080, 8006
_LEAST, _GREATEST = 1024, 65535
_TCP_IDLE_TIMEOUT = 300.0  # seconds
_HEADER, _QUERY = "X-ROCK-Target-Port", "rock_target_port"
_OFFERED_INSTEAD = ("binary", "base64")
"""Subprotocols that a server is offered when the client offers none; which one it takes is not told the client."""
_POLICY, _FAILURE = 1008, 1011
_FAREWELL_LIMIT = 123  # bytes.  Source: RFC 6455 section 5.5


class BadPort(Exception):
    """A port that is not forwarded to; the message is ROCK's."""


def add_rock_ports(app: web.Application, tunnels: Tunnels, gate: Gate) -> None:
    """Put ROCK's ways to ports at their places."""
    ports = _RockPorts(tunnels)
    for root in _ROOTS:
        for name, serve in (("proxy", ports.proxy), ("vnc", ports.vnc)):
            handler = gate.guard("read", serve)
            app.router.add_route("*", f"{root}/sandboxes/{{sandbox_id}}/{name}", handler)
            app.router.add_route("*", f"{root}/sandboxes/{{sandbox_id}}/{name}/{{path:.*}}", handler)
        app.router.add_get(f"{root}/sandboxes/{{sandbox_id}}/portforward", gate.guard("read", ports.portforward))


def choose_port(path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[int, str, str]:
    """The port that a request names, the path on it, and the part of `path` that named the port.

    `path` is what follows `/proxy/`, encoded.  Raises BadPort.
    """
    named: dict[str, str] = {}
    prefix = ""
    words = path.split("/", 2)
    if words[0] == "port" and len(words) > 1 and words[1].isdigit():
        named["path"] = words[1]
        prefix, path = f"/port/{words[1]}", words[2] if len(words) > 2 else ""
    if _HEADER in headers:
        named[f"header {_HEADER}"] = headers[_HEADER]
    if _QUERY in query:
        named[f"query parameter {_QUERY}"] = query[_QUERY]
    if len(named) > 1:
        raise BadPort(f"Cannot specify target port via multiple sources: {', '.join(named)}")
    return _check(next(iter(named.values()), str(_SERVER_PORT))), path, prefix


def _check(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadPort(f"Port {text[:20]} is not allowed for port forwarding")
    port = int(text)
    if port < _LEAST:
        raise BadPort(f"Port {port} is below minimum allowed port {_LEAST}")
    if port > _GREATEST:
        raise BadPort(f"Port {port} is above maximum allowed port {_GREATEST}")
    return port


class _RockPorts:
    """ROCK's three ways to a port."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        """HTTP and WebSockets, to the port that the request names."""
        root, tail = _split(request)
        try:
            port, path, prefix = choose_port(tail, request.headers, request.query)
        except BadPort as error:
            return await _refuse(request, str(error))
        return await self._relay(request, port, path, f"{root}{prefix}")

    async def vnc(self, request: web.Request) -> web.StreamResponse:
        """HTTP and WebSockets, to the port of a desktop."""
        root, tail = _split(request)
        return await self._relay(request, _VNC_PORT, tail, root)

    async def _relay(self, request: web.Request, port: int, path: str, root: str) -> web.StreamResponse:
        target = _target(request, f"ports/{port}/{path}", root)
        if is_websocket(request):
            return await self._join(request, target, port)
        try:
            return await self._tunnels.relay(request, target)
        except Forbidden:
            return await _refuse(request, f"Port {port} is not allowed for port forwarding")
        except PortClosed as error:
            # ROCK says HTTP 200 to this, which whoever waits for the server would take for its answer.
            return web.json_response({"detail": error.message}, status=error.status)

    async def _join(self, request: web.Request, target: Target, port: int) -> web.StreamResponse:
        offered = offered_protocols(request)
        try:
            server = await self._tunnels.open(request, target, protocols=offered or _OFFERED_INSTEAD)
        except (RockException, Refused) as error:
            return await _close(request, *_explain(error, port, target.sandbox_id))
        async with server:
            spoken = [server.protocol] if offered and server.protocol else []
            client = await accept(request, {}, protocols=spoken)
            await join(client, server)
            return client

    async def portforward(self, request: web.Request) -> web.StreamResponse:
        """TCP in binary frames."""
        try:
            port = _check(request.query.get("port", ""))
        except BadPort as error:
            return await _refuse(request, str(error))
        target = _target(request, f"tcp/{port}")
        try:
            server = await self._tunnels.open(request, target)
        except (RockException, Refused) as error:
            return await _close(request, *_explain(error, port, target.sandbox_id))
        async with server:
            client = await accept(request, {})
            await join(client, server, idle_timeout=_TCP_IDLE_TIMEOUT)
            return client


def _target(request: web.Request, path: str, root: str = "") -> Target:
    sandbox_id = check_sandbox_id(request.match_info["sandbox_id"])
    return Target(tenant=current_caller.get().tenant, sandbox_id=sandbox_id, path=f"{PREFIX}/{path}", root=root)


def _split(request: web.Request) -> tuple[str, str]:
    """What is `/` to the server unless a port is named, and what follows it; both as the client has encoded them."""
    before, _, after = request.rel_url.raw_path.partition("/sandboxes/")
    sandbox, name, *tail = after.split("/", 2)
    return f"{before}/sandboxes/{sandbox}/{name}", "".join(tail)


def _explain(error: RockException | Refused, port: int, sandbox_id: str) -> tuple[int, str]:
    """The code and the words with which ROCK closes a WebSocket that leads nowhere."""
    if isinstance(error, Forbidden):
        return _POLICY, f"Port {port} is not allowed for port forwarding"
    if isinstance(error, PortClosed):
        return _FAILURE, f"Failed to connect to port {port}: [Errno 111] Connect call failed"
    if isinstance(error, SandboxNotFound | SandboxEnded):
        return _FAILURE, f"Proxy error: sandbox {sandbox_id} not started"
    return _FAILURE, f"Proxy error: {error}"


async def _refuse(request: web.Request, message: str) -> web.StreamResponse:
    if is_websocket(request):
        return await _close(request, _POLICY, message)
    return web.json_response({"detail": message}, status=400)


async def _close(request: web.Request, code: int, reason: str) -> web.StreamResponse:
    """A WebSocket that opens only to say why it closes: of one that is refused, clients see no reason."""
    socket = await accept(request, {})
    await socket.close(code=code, message=reason.encode()[:_FAREWELL_LIMIT])
    return socket
