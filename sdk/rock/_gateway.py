"""Calls that a gateway answers itself: create, get, list, stop, resolve, ..."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import msgspec

from rock._config import GatewayAddress
from rock._httpx import as_httpx
from rock._transport import Call, Lost, Route, RouteFailure
from rock.wire.errors import GatewayUnreachable, OutcomeUnknown
from rock.wire.messages import Empty
from rock.wire.operations import Operation

__all__ = ["Gateway", "new_request_id"]

_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)

_CONNECT_TIMEOUT = 10.0  # seconds
_KEY_HEADERS = frozenset({"authorization", "x-api-key"})


class Gateway:
    """A gateway at an address, or the replicas behind it.  Holds no socket, so it can be pickled and copied."""

    def __init__(self, address: GatewayAddress, headers: Mapping[str, str] | None = None) -> None:
        self.address = address
        self._headers = dict(headers or {})

    def __repr__(self) -> str:
        return f"Gateway({self.address.url!r})"

    @property
    def route(self) -> Route:
        """The way to it."""
        headers = dict(self._headers)
        if self.address.api_key and not any(name.lower() in _KEY_HEADERS for name in headers):
            headers["Authorization"] = f"Bearer {self.address.api_key}"
        return Route(url=self.address.url, headers=headers, is_direct=False, connect_timeout=_CONNECT_TIMEOUT)

    async def call(self, operation: Operation[_Req, _Res], request: _Req, *, sandbox_id: str = "") -> _Res:
        """The operation's result.

        Raises GatewayUnreachable: nothing answers, check the address or retry; OutcomeUnknown: what was asked for may
        have been done; any RockException that the gateway answers.
        """
        call = _call(operation, request, sandbox_id)
        was_sent = False
        try:
            try:
                result: _Res = await self.route.call(call)
            except Lost:
                was_sent = True
                result = await self.route.call(call)  # with the same id: it is done once
        except RouteFailure as error:
            if was_sent and not operation.idempotent:
                details = {"executed": "unknown", "request_id": call.request_id}
                raise as_httpx(OutcomeUnknown(str(error), details=details)) from error
            raise as_httpx(GatewayUnreachable(str(error))) from error
        return result

    @asynccontextmanager
    async def stream(
        self, operation: Operation[_Req, Empty], request: _Req, *, sandbox_id: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """What the operation brings down, in pieces as they come; what is lost on its way is not asked for again.

        Raises GatewayUnreachable, also while the pieces are read; any RockException that the gateway answers.
        """
        try:
            async with self.route.stream(_call(operation, request, sandbox_id)) as (_, pieces):
                yield pieces
        except RouteFailure as error:
            raise as_httpx(GatewayUnreachable(str(error))) from error

    async def follow(
        self, operation: Operation[_Req, Empty], request: _Req, *, sandbox_id: str
    ) -> AsyncGenerator[bytes, None]:
        """What the operation brings down as it comes, up to its end; it must be one that comes in frames.

        Raises what `stream` raises.
        """
        try:
            async with aclosing(self.route.frames(_call(operation, request, sandbox_id))) as frames:
                async for _, payload in frames:
                    yield payload
        except RouteFailure as error:
            raise as_httpx(GatewayUnreachable(str(error))) from error


def _call(operation: Operation[Any, Any], request: msgspec.Struct, sandbox_id: str) -> Call:
    return Call(operation=operation, request=request, request_id=new_request_id(), sandbox_id=sandbox_id)


def new_request_id() -> str:
    """An id that no other call has."""
    return uuid.uuid4().hex
