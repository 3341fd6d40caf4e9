"""The native dialect: the operations' own messages as JSON, with honest HTTP codes and typed errors."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from typing import Any

import msgspec
from aiohttp import web

from rock.wire import codec
from rock.wire.errors import RockException, RouteNotFound, to_body
from rock.wire.operations import OPERATIONS, REQUEST_ID_HEADER, SHA256_HEADER, Operation
from rock.wire.tunnels import ERROR_HEADER, refusal_to_header
from rocklet.actions import Call, Reply
from rocklet.auth import check_token
from rocklet.config import Settings
from rocklet.dialects.body import JsonResponse, invalid_header, read_chunks, read_json_body
from rocklet.engine import Engine
from rocklet.faults import explain_fault
from rocklet.files import Stream
from rocklet.tunnels.entrance import Tunnels, find_tunnel

__all__ = ["NativeDialect"]

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_ROUTES: dict[tuple[str, str], Operation[Any, Any]] = {
    (each.method, each.path): each for each in OPERATIONS.values() if each.served_by == "rocklet"
}
_METHODS = {path: sorted(method for method, each in _ROUTES if each == path) for _, path in _ROUTES}


class NativeDialect:
    """Requests in, engine calls, replies out."""

    def __init__(self, engine: Engine, tunnels: Tunnels, settings: Settings) -> None:
        self._engine = engine
        self._tunnels = tunnels
        self._settings = settings

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever goes wrong is a typed error."""
        given = request.headers.get(REQUEST_ID_HEADER)
        request_id = given if given is not None and _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        try:
            operation = self._route(request)
            if given is not None and given != request_id:
                raise invalid_header(REQUEST_ID_HEADER, given, "1 to 128 printable characters")
            if operation is None:
                return await self._tunnels.serve(request, request_id)
            if operation.carries == "upload":
                return await self._upload(operation, request, request_id)
            if operation.carries == "download":
                return await self._download(operation, request, request_id)
            reply = await self._call(operation, request, request_id, is_named=given is not None)
        except RockException as error:
            reply = _to_reply(error, request_id)
        except web.HTTPException as error:  # aiohttp's own, of a WebSocket that is none
            reply = _to_reply(invalid_header("Upgrade", str(error.text), "a WebSocket's handshake"), request_id)
        except ConnectionError:  # the caller is gone, and aiohttp knows
            raise
        except Exception as fault:  # noqa: BLE001 - the outermost edge: nobody else would tell the caller
            reply = _to_reply(explain_fault(fault, request_id), request_id)
        response = _to_response(reply, request_id)
        if "Upgrade" in request.headers:
            response.headers[ERROR_HEADER] = refusal_to_header(reply.body)
        return response

    def _route(self, request: web.BaseRequest) -> Operation[Any, Any] | None:
        """The operation that is asked for, by somebody who may; None: a tunnel."""
        operation = _ROUTES.get((request.method, request.path))
        if operation is None or not operation.is_open:
            check_token(request.headers, self._settings.token_sha256)
        if operation is not None:
            return operation
        if find_tunnel(request) is not None:
            return None
        what = f"{request.method} {request.path}"[:200]
        methods = _METHODS.get(request.path)
        if methods is not None:
            raise RouteNotFound(f"there is no {what}; this path has {', '.join(methods)}", details={"allow": methods})
        raise RouteNotFound(f"there is no {what}; the operations are listed in the wire's table")

    async def _call(
        self, operation: Operation[Any, Any], request: web.BaseRequest, request_id: str, *, is_named: bool
    ) -> Reply:
        """Serve an operation whose request and result are messages."""
        body = b"" if operation.carries == "query" else await read_json_body(request, self._settings.body_bytes)
        if operation.carries == "query":
            message = codec.decode_query(operation.request, request.query.items())
        else:
            message = codec.decode(operation.request, body)

        async def perform(call: Call) -> Reply:
            return await self._perform(operation, message, call)

        if operation.idempotent:
            return await perform(Call(request_id))
        fingerprint = hashlib.blake2b(body, digest_size=16, person=operation.name.encode()[:16]).digest()
        return await self._engine.actions.run(request_id, fingerprint, perform, is_named=is_named)

    async def _perform(self, operation: Operation[Any, Any], message: msgspec.Struct, call: Call) -> Reply:
        """Let the engine do it; its errors are replies like others, to be replayed like others."""
        perform = getattr(self._engine, operation.name)
        try:
            with self._engine.counting(operation):
                return Reply(status=200, body=codec.encode(await perform(message, call)))
        except RockException as error:
            return _to_reply(error, call.request_id)
        except Exception as fault:  # noqa: BLE001 - the outermost edge of an action's task
            return _to_reply(explain_fault(fault, call.request_id), call.request_id)

    async def _upload(
        self, operation: Operation[Any, Any], request: web.BaseRequest, request_id: str
    ) -> web.StreamResponse:
        asked = codec.decode_query(operation.request, request.query.items())
        with self._engine.counting(operation):
            upload = getattr(self._engine, operation.name)
            facts = await upload(asked, Call(request_id), read_chunks(request))
        return _to_response(Reply(status=200, body=codec.encode(facts)), request_id)

    async def _download(
        self, operation: Operation[Any, Any], request: web.BaseRequest, request_id: str
    ) -> web.StreamResponse:
        asked = codec.decode_query(operation.request, request.query.items())
        with self._engine.counting(operation):
            download: Stream = await getattr(self._engine, operation.name)(asked, Call(request_id))
            try:
                response = web.StreamResponse(headers={REQUEST_ID_HEADER: request_id})
                response.content_type = download.content_type
                response.content_length = download.length
                if download.sha256 is not None:
                    response.headers[SHA256_HEADER] = download.sha256
                await response.prepare(request)
                while (data := await asyncio.to_thread(download.read)) or await download.grew():
                    await response.write(data)
                if download.is_cut and request.transport is not None:
                    request.transport.abort()  # the only way left to say that more was to come
                else:
                    await response.write_eof()
                return response
            finally:
                download.close()


def _to_reply(error: RockException, request_id: str) -> Reply:
    has_route = isinstance(error, RouteNotFound) and "allow" in error.details
    return Reply(status=405 if has_route else error.status, body=codec.encode(to_body(error, request_id=request_id)))


def _to_response(reply: Reply, request_id: str) -> web.Response:
    return JsonResponse(reply.status, reply.body, {REQUEST_ID_HEADER: request_id})
