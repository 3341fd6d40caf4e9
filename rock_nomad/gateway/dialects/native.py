"""Our own wire: JSON under `/v1`, honest HTTP codes, one shape of error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from rock.wire.codec import decode, decode_query, encode
from rock.wire.errors import InvalidRequest, RockException, to_body
from rock.wire.operations import OPERATIONS, Operation
from rock_nomad.gateway.dialects import Dialect, Route

__all__ = ["Native"]

_JSON = "application/json"


class Native:
    """The wire as `rock.wire` defines it."""

    prefix = ""

    def routes(self) -> Iterable[Route]:
        """Every operation at its gateway path."""
        return [Route(each.method, each.gateway_path, each, self) for each in OPERATIONS.values()]

    async def decode(self, operation: Operation[Any, Any], request: web.Request) -> msgspec.Struct:
        """The request that body or query says.

        Raises InvalidRequest: fix the field it names.  aiohttp's own error for a body that is too large passes.
        """
        if operation.carries in ("query", "download"):
            from_query: msgspec.Struct = decode_query(operation.request, request.query.items())
            return from_query
        if request.query_string:
            # A field that stands where nobody looks for it would be ignored in silence.
            raise InvalidRequest(
                f"{operation.name} takes no query string; send its fields as a JSON object",
                details={"field": "query", "value": request.query_string[:80], "expected": "no query string"},
            )
        body = await request.read()
        if body and request.content_type != _JSON:
            # A web page can send other types across origins without being asked whether it may.
            raise InvalidRequest(
                f"Content-Type is {request.content_type!r}; send {_JSON}",
                details={"field": "Content-Type", "value": request.content_type[:80], "expected": _JSON},
            )
        from_body: msgspec.Struct = decode(operation.request, body)
        return from_body

    def encode(self, operation: Operation[Any, Any], result: msgspec.Struct) -> web.Response:
        """The result as JSON."""
        return web.Response(body=encode(result), content_type=_JSON)

    def encode_error(self, error: RockException, status: int, request_id: str) -> web.Response:
        """The error as an `ErrorBody`, with the HTTP status that it is."""
        body = encode(to_body(error, request_id=request_id))
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return web.Response(status=status, body=body, content_type=_JSON, headers=headers)


_: type[Dialect] = Native
