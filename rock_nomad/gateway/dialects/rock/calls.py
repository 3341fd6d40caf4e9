"""How a call of ROCK's is read and answered: one row per call, one envelope for all.

A reply is HTTP 200 whatever has happened: its clients take any other status for a fault of the transport, and that of a
`kill -0` for the end of the process.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import web

from rock.wire.codec import convert, decode_json
from rock.wire.errors import InternalError, InvalidRequest, RockException, TooLarge
from rock_nomad.gateway.calls import current_request_id
from rock_nomad.gateway.dialects import Endpoint, Perform
from rock_nomad.gateway.dialects.rock.replies import Host, failed, succeeded
from rock_nomad.gateway.dialects.rock.requests import SandboxRequest, translate
from rock_nomad.gateway.heartbeat import answer_with_heartbeat
from rock_nomad.gateway.roles import Duty

__all__ = ["PREFIX", "Asked", "RockCall", "to_endpoint"]

PREFIX = "/apis/envs/sandbox/v1"
MAX_BODY = 96 * 2**20  # bytes: 64 MiB of text, and what JSON adds to it

_JSON = "application/json"
_Req = TypeVar("_Req")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked(Generic[_Req]):
    """One call, as it came."""

    request: _Req
    http: web.Request
    perform: Perform

    @property
    def gateway(self) -> Host:
        """The name and address at which the client has reached this gateway."""
        transport = self.http.transport
        address = transport.get_extra_info("sockname") if transport is not None else None
        return socket.gethostname(), str(address[0]) if address else "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RockCall(Generic[_Req]):
    """A row of the table."""

    method: str
    path: str
    """Behind `PREFIX`."""
    request: type[_Req] | None
    """What its body or its query says; None: the call reads its body itself."""
    act: Callable[[Asked[Any]], Awaitable[object]]
    """The result, of what JSON knows."""
    failure: str | None = None
    """What ROCK says beside the error of such a call."""
    is_long: bool = False
    """Whether it may take longer than its client is silent for."""


def to_endpoint(call: RockCall[Any], duty: Duty) -> Endpoint:
    """A row as the server takes it."""

    async def answer(http: web.Request, perform: Perform) -> web.StreamResponse:
        work = _work(call, http, perform)
        if call.is_long:
            return await answer_with_heartbeat(http, work)
        return web.Response(body=await work, content_type=_JSON)

    return Endpoint(call.method, f"{PREFIX}{call.path}", duty, answer)


def _work(call: RockCall[Any], http: web.Request, perform: Perform) -> Coroutine[Any, Any, bytes]:
    async def work() -> bytes:
        sandbox_id = ""
        try:
            request = await _read(call, http)
        except InvalidRequest as error:
            return failed(error, message="invalid parameter")
        except web.HTTPRequestEntityTooLarge:
            return failed(_too_large(), message=call.failure)
        if isinstance(request, SandboxRequest):
            sandbox_id = request.sandbox_id
        try:
            return succeeded(await call.act(Asked(request, http, perform)))
        except RockException as error:
            return failed(translate(error), message=call.failure, sandbox_id=sandbox_id)
        except Exception:  # the edge of a call whose answer may have begun: nobody else could tell the client
            log.exception("%s failed by a fault of ours", call.path)
            said = f"the gateway failed by a fault of its own; its log has the cause under {current_request_id.get()}"
            return failed(InternalError(said), message=call.failure, sandbox_id=sandbox_id)

    return work()


def _too_large() -> TooLarge:
    return TooLarge(f"the body is larger than {MAX_BODY} bytes; upload large files", details={"limit": MAX_BODY})


async def _read(call: RockCall[_Req], http: web.Request) -> _Req | None:
    if call.request is None:
        return None
    if call.method == "GET":
        said: Any = dict(http.query)
    else:
        body = await http.clone(client_max_size=MAX_BODY).read()
        if body and http.content_type != _JSON:
            # A web page can send other types across origins without being asked whether it may.
            raise InvalidRequest(
                f"Content-Type is {http.content_type!r}; send {_JSON}",
                details={"field": "Content-Type", "value": http.content_type[:80], "expected": _JSON},
            )
        said = decode_json(body)
    if isinstance(said, dict):
        said = {name: value for name, value in {**said, **http.match_info}.items() if value is not None}
    return convert(call.request, said, is_strict=False)
