"""What befalls every request before and after its handler: its id, its errors, its caller."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rock.wire.codec import encode
from rock.wire.errors import (
    Forbidden,
    InternalError,
    InvalidRequest,
    RockException,
    RouteNotFound,
    TooLarge,
    to_body,
)
from rock.wire.operations import REQUEST_ID_HEADER
from rock.wire.tunnels import ERROR_HEADER, refusal_to_header
from rock_nomad.gateway.auth import Authenticator
from rock_nomad.gateway.calls import accept_request_id, current_caller, current_request_id, new_request_id
from rock_nomad.gateway.dialects import Dialect, dialect_of, merge_slashes
from rock_nomad.gateway.websockets import is_websocket

__all__ = [
    "MAX_BODY",
    "OPEN_PATHS",
    "add_request_id",
    "authenticate",
    "find_repeated_slashes",
    "is_loopback",
    "refuse_browsers",
    "type_errors",
]

OPEN_PATHS = frozenset({"/health"})
"""What is answered without a key: that the gateway runs, for whoever balances load."""
MAX_BODY = 8 * 1024 * 1024  # bytes, of a call that the gateway serves itself; others it does not read

log = logging.getLogger(__name__)


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Name the request in its reply; for `on_response_prepare`, which streams pass too."""
    response.headers[REQUEST_ID_HEADER] = current_request_id.get()


def type_errors(dialects: Sequence[Dialect]) -> Middleware:
    """Whatever goes wrong becomes a typed error in the words of the client's dialect; one log line a request."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.monotonic()
        current_request_id.set(new_request_id())
        response = await _typed(dialects, request, handler)
        _log_request(request, response, time.monotonic() - begun)
        return response

    return middleware


async def _typed(dialects: Sequence[Dialect], request: web.Request, handler: Handler) -> web.StreamResponse:
    allowed = ""
    try:
        current_request_id.set(accept_request_id(request.headers.get(REQUEST_ID_HEADER)))
        return await handler(request)
    except RockException as raised:
        error, status = raised, raised.status
    except web.HTTPException as raised:
        error, status = _from_http(request, raised)
        allowed = raised.headers.get("Allow", "")
    except Exception:  # the outermost edge of a request: a fault of ours must not show its traceback
        log.exception("request %s %s failed by a fault of ours", request.method, request.path)
        message = f"the gateway failed by a fault of its own; its log has the cause under {current_request_id.get()}"
        error, status = InternalError(message), InternalError.status
    response = dialect_of(dialects, request.path).encode_error(error, status, current_request_id.get())
    if allowed:
        response.headers["Allow"] = allowed
    if is_websocket(request):
        response.headers[ERROR_HEADER] = refusal_to_header(encode(to_body(error, request_id=current_request_id.get())))
    return response


def _from_http(request: web.Request, raised: web.HTTPException) -> tuple[RockException, int]:
    """aiohttp's own refusals, in ours."""
    if isinstance(raised, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(raised.allowed_methods))
        message = f"{request.method} is not served at {request.path}; it has {allowed}"
        return RouteNotFound(message, details={"field": "method", "value": request.method, "expected": allowed}), 405
    if isinstance(raised, web.HTTPNotFound):
        message = f"no operation is served at {request.method} {request.path}; the paths begin with /v1/sandboxes"
        return RouteNotFound(message, details={"field": "path", "value": request.path, "expected": "/v1/..."}), 404
    if isinstance(raised, web.HTTPRequestEntityTooLarge):
        message = f"the body is larger than {MAX_BODY} bytes; send less"
        return TooLarge(message, details={"field": "$", "limit": MAX_BODY}), TooLarge.status
    message = f"the request cannot be read: {raised.reason}"
    return InvalidRequest(message, details={"field": "$", "value": "", "expected": "an HTTP request"}), 400


def _log_request(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    # What happens to sandboxes is logged where it is decided; of requests only those that failed by our doing.
    level = logging.INFO if response.status >= 500 else logging.DEBUG
    log.log(level, "%s %s %d in %.1f ms", request.method, request.path, response.status, seconds * 1000)


def refuse_browsers() -> Middleware:
    """For a gateway without keys: let in only what no web page can send."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        for header in ("Origin", "Sec-Fetch-Site"):
            if header in request.headers:
                raise Forbidden(
                    f"this gateway is open to this machine's own programs, not to web pages: {header} was sent",
                    details={"field": header, "value": request.headers[header][:80], "expected": "no such header"},
                )
        if not is_loopback(request.host):
            raise Forbidden(
                f"this gateway is open to this machine only, but was called {request.host[:80]!r}; use 127.0.0.1",
                details={"field": "Host", "value": request.host[:80], "expected": "a loopback address or localhost"},
            )
        return await handler(request)

    return middleware


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def authenticate(authenticator: Authenticator) -> Middleware:
    """Note who calls, in `current_caller`; who shows no good key comes no further."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in OPEN_PATHS:
            current_caller.set(authenticator.identify(request.headers))
        return await handler(request)

    return middleware


def find_repeated_slashes() -> Middleware:
    """Serve a path that nobody knows as the one with single slashes: for clients whose base address ends in one.

    The last of the middlewares, since it takes the handler's place.  A redirect would not do: clients follow none for
    a POST.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if isinstance(request.match_info.http_exception, web.HTTPNotFound) and "//" in request.path:
            merged = request.clone(rel_url=_with_single_slashes(request.raw_path))
            found = await request.app.router.resolve(merged)
            found.add_app(request.app)
            merged._match_info = found  # as aiohttp's own middleware does, which then redirects
            return await found.handler(merged)
        return await handler(request)

    return middleware


def _with_single_slashes(target: str) -> str:
    path, mark, query = target.partition("?")
    return f"{merge_slashes(path)}{mark}{query}"
