"""The gateway's HTTP server: every operation of every dialect at its place, served here or passed on."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rock.wire.errors import RockException
from rock.wire.frames import FRAMES_TYPE
from rock.wire.operations import OPERATIONS, PREFIX, REQUEST_ID_HEADER, Operation
from rock.wire.tunnels import TUNNELS
from rock_nomad.gateway.auth import Authenticator
from rock_nomad.gateway.body import Body
from rock_nomad.gateway.calls import Call, current_caller
from rock_nomad.gateway.dialects import Dialect, Endpoint, Perform, Route
from rock_nomad.gateway.middleware import (
    MAX_BODY,
    add_request_id,
    authenticate,
    find_repeated_slashes,
    refuse_browsers,
    type_errors,
)
from rock_nomad.gateway.proxy import Proxy
from rock_nomad.gateway.roles import Gate, duty_of
from rock_nomad.gateway.tunnels import Target, Tunnels
from rock_nomad.names import check_sandbox_id

__all__ = ["Handlers", "Streams", "add_routes", "add_tunnels", "create_server"]

log = logging.getLogger(__name__)

_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)

Handlers = Mapping[str, Callable[[Call, Any], Awaitable[msgspec.Struct]]]
"""What serves each operation of the gateway's own, by the operation's name."""

Streams = Mapping[str, Callable[[Call, Any], AsyncGenerator[bytes, None]]]
"""The same for those that bring bytes down."""


def create_server(dialects: Sequence[Dialect], authenticator: Authenticator, *, is_open: bool) -> web.Application:
    """An application that knows its callers and types its errors; `add_routes` gives it something to do."""
    middlewares: list[Middleware] = [type_errors(dialects), authenticate(authenticator), find_repeated_slashes()]
    if is_open:
        middlewares.insert(1, refuse_browsers())
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app.on_response_prepare.append(add_request_id)
    return app


def add_routes(  # noqa: PLR0913 - each a part of its own
    app: web.Application,
    dialects: Sequence[Dialect],
    handlers: Handlers,
    streams: Streams,
    proxy: Proxy,
    *,
    gate: Gate,
) -> None:
    """Put every operation of every dialect at its place, behind the gate."""
    served_here = {name for name, operation in OPERATIONS.items() if operation.served_by == "gateway"}
    if {*handlers, *streams} != served_here:
        raise ValueError(f"handlers and operations differ in {sorted({*handlers, *streams} ^ served_here)}")
    perform = _performer(handlers, proxy)
    for dialect in dialects:
        for route in dialect.routes():
            if isinstance(route, Endpoint):
                duty, handler = route.duty, _answer(route, perform)
            elif route.operation.served_by == "rocklet":
                duty, handler = duty_of(route.operation), _relay(route.operation, proxy)
            elif route.operation.carries == "download":
                duty, handler = duty_of(route.operation), _stream(route, streams)
            else:
                duty, handler = duty_of(route.operation), _serve(route, handlers)
            app.router.add_route(route.method, route.path, gate.guard(duty, handler))


def add_tunnels(app: web.Application, tunnels: Tunnels, gate: Gate) -> None:
    """Put every tunnel at its place, behind the gate."""

    async def relay(request: web.Request) -> web.StreamResponse:
        _, _, _, sandbox, rest = request.rel_url.raw_path.split("/", 4)  # as the client has encoded it
        port = request.match_info.get("port", "")
        target = Target(
            tenant=current_caller.get().tenant,
            sandbox_id=check_sandbox_id(request.match_info["sandbox_id"]),
            path=f"{PREFIX}/{rest}",
            root=f"{PREFIX}/sandboxes/{sandbox}/ports/{port}",
        )
        return await tunnels.relay(request, target)

    for tunnel in TUNNELS.values():
        app.router.add_route("*", tunnel.gateway_path.replace("{path}", "{path:.*}"), gate.guard("read", relay))


def _performer(handlers: Handlers, proxy: Proxy) -> Perform:
    async def perform(
        operation: Operation[_Req, _Res], request: _Req, *, sandbox_id: str = "", body: Body | None = None
    ) -> _Res:
        caller = current_caller.get()
        checked = check_sandbox_id(sandbox_id) if "{sandbox_id}" in operation.gateway_path else ""
        if operation.served_by == "rocklet":
            return await proxy.perform(operation, request, tenant=caller.tenant, sandbox_id=checked, body=body)
        result = await handlers[operation.name](Call(caller=caller, sandbox_id=checked), request)
        assert isinstance(result, operation.result)
        return result

    return perform


def _answer(endpoint: Endpoint, perform: Perform) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await endpoint.answer(request, perform)

    return answer


def _serve(route: Route, handlers: Handlers) -> Handler:
    operation, act = route.operation, handlers[route.operation.name]

    async def serve(request: web.Request) -> web.StreamResponse:
        call = _call(request, operation)
        wanted = await route.codec.decode(operation, request)
        return route.codec.encode(operation, await act(call, wanted))

    return serve


def _stream(route: Route, streams: Streams) -> Handler:
    operation, read = route.operation, streams[route.operation.name]

    async def stream(request: web.Request) -> web.StreamResponse:
        call = _call(request, operation)
        wanted = await route.codec.decode(operation, request)
        content_type = FRAMES_TYPE if getattr(wanted, "follow", False) else "application/octet-stream"
        response = web.StreamResponse(headers={"Content-Type": content_type})
        async with aclosing(read(call, wanted)) as pieces:
            first = await anext(pieces, b"")  # what is refused is refused ahead of it
            await response.prepare(request)
            await response.write(first)
            try:
                async for piece in pieces:
                    await response.write(piece)
            except RockException as error:
                log.warning("%s: the answer was cut on its way: %s", request.path, error)
                # A clean end would pass for the whole answer, so the client's connection is cut as well.
                if request.transport is not None:
                    request.transport.abort()
                return response
        await response.write_eof()
        return response

    return stream


def _relay(operation: Operation[Any, Any], proxy: Proxy) -> Handler:
    async def relay(request: web.Request) -> web.StreamResponse:
        sandbox_id = check_sandbox_id(request.match_info["sandbox_id"])
        return await proxy.relay(request, operation, tenant=current_caller.get().tenant, sandbox_id=sandbox_id)

    return relay


def _call(request: web.Request, operation: Operation[Any, Any]) -> Call:
    sandbox_id = request.match_info.get("sandbox_id")
    # A request id says "once" of any call that is not idempotent, so it names what such a call makes.
    key = request.headers.get("Idempotency-Key") or request.headers.get(REQUEST_ID_HEADER)
    return Call(
        caller=current_caller.get(),
        sandbox_id=check_sandbox_id(sandbox_id) if sandbox_id is not None else "",
        idempotency_key=None if operation.idempotent else key,
    )
