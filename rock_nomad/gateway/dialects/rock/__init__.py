"""ROCK's wire: the operations as rl-rock's clients call them, in ROCK's envelope, with its quirks."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from rock.wire.errors import RockException
from rock_nomad.gateway.dialects import Dialect, Endpoint, Perform
from rock_nomad.gateway.dialects.rock import sandboxes, sessions
from rock_nomad.gateway.dialects.rock.calls import PREFIX, to_endpoint
from rock_nomad.gateway.dialects.rock.replies import failed

__all__ = ["Rock"]

_NO_ROUTE = (404, 405)


class Rock:
    """The wire of rl-rock 1.11."""

    prefix = PREFIX

    def routes(self) -> Iterable[Endpoint]:
        """Every call, and what tells that the gateway lives."""
        writes = [to_endpoint(call, "write") for call in sandboxes.CALLS]
        reads = [to_endpoint(call, "read") for call in sessions.CALLS]
        life = [Endpoint("GET", "/", "both", _greet), Endpoint("GET", "/health", "both", _tell_health)]
        return [*writes, *reads, *life]

    def encode_error(self, error: RockException, status: int, request_id: str) -> web.Response:
        """What failed before or beside its call, in the envelope; HTTP 200 unless there is no such call at all."""
        shown = status if status in _NO_ROUTE else 200
        return web.Response(status=shown, body=failed(error, message=None), content_type="application/json")


async def _greet(_request: web.Request, _perform: Perform) -> web.StreamResponse:
    return web.json_response({"message": "hello, ROCK!"})


async def _tell_health(_request: web.Request, _perform: Perform) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


_: type[Dialect] = Rock
