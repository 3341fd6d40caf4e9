"""Calls that a rocklet serves, passed on as bytes in both directions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from rock.wire.codec import decode, encode, encode_query
from rock.wire.errors import ErrorBody, RockException, SandboxUnreachable, from_body, unanswered
from rock.wire.messages import RockletEndpoint
from rock.wire.operations import REQUEST_ID_HEADER, Operation
from rock_nomad.gateway import headers
from rock_nomad.gateway.body import Body, WholeBody, take_body
from rock_nomad.gateway.calls import current_request_id
from rock_nomad.gateway.resolver import Resolver
from rock_nomad.gateway.rocklets import Rocklets, RockletUnreachable, StaleAddress

__all__ = ["NOT_THERE", "Proxy", "pass_down"]

ATTEMPTS = 3  # a stale address, a connection cut after sending, and the one that counts
SMALL_REPLY = 64 * 1024  # bytes; read whole before the client gets any, so that a cut one can be asked for again
CANCEL_TIMEOUT = 1.0  # seconds

NOT_THERE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, RockletUnreachable, StaleAddress)
"""Nobody listens at the address, or somebody else: nothing was run."""

_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)
_T = TypeVar("_T")

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Passage(Generic[_T]):
    """One call on its way to a rocklet."""

    operation: Operation[Any, Any]
    tenant: str
    sandbox_id: str
    headers: Mapping[str, str]
    query: str = ""
    body: Body | None
    receive: Callable[[aiohttp.ClientResponse], Awaitable[_T]]
    """What is made of the rocklet's answer."""
    may_have_run: bool = False
    """Whether a connection was lost after sending."""
    refused: set[RockletEndpoint] = field(default_factory=set)
    """Where nobody listens, or somebody else."""

    @property
    def can_be_sent_again(self) -> bool:
        return self.body is None or self.body.can_be_sent_again

    @property
    def was_named_by_client(self) -> bool:
        """Whether the client sent an id of its own, and so may come again to join the action."""
        return REQUEST_ID_HEADER in self.headers


class Proxy:
    """Streams calls to rocklets.  A call runs once, or the error says that this is not known.

    It is sent again when nothing of it was sent, and to the same rocklet when the connection was lost after sending:
    there it is idempotent, or joined by its request id.
    """

    def __init__(self, session: aiohttp.ClientSession, rocklets: Rocklets, resolver: Resolver) -> None:
        self._session, self._rocklets, self._resolver = session, rocklets, resolver

    async def relay(
        self, request: web.Request, operation: Operation[Any, Any], *, tenant: str, sandbox_id: str
    ) -> web.StreamResponse:
        """The rocklet's answer, as it comes.

        Raises SandboxUnreachable (nothing was run), OutcomeUnknown, and how the sandbox ended.
        """
        return await self._pass(
            _Passage(
                operation=operation,
                tenant=tenant,
                sandbox_id=sandbox_id,
                headers=request.headers,
                query=request.rel_url.raw_query_string,
                body=await take_body(request),
                receive=partial(pass_down, request),
            )
        )

    async def perform(
        self,
        operation: Operation[_Req, _Res],
        request: _Req,
        *,
        tenant: str,
        sandbox_id: str,
        body: Body | None = None,
    ) -> _Res:
        """An operation's result, for a client of another wire than the rocklet's.  It ends with its caller.

        Raises what `relay` raises, and the rocklet's own typed errors.
        """
        is_json = operation.carries == "json"
        passage = _Passage(
            operation=operation,
            tenant=tenant,
            sandbox_id=sandbox_id,
            headers={"Content-Type": "application/json"} if is_json else {},
            query="" if is_json else urlencode(encode_query(request)),
            body=WholeBody(encode(request)) if is_json else body,
            receive=partial(_read, operation),
        )
        return await self._pass(passage)

    async def _pass(self, passage: _Passage[_T]) -> _T:
        for _ in range(ATTEMPTS):
            endpoint = await self._resolve(passage)
            if endpoint in passage.refused or not passage.can_be_sent_again:
                break
            answer = await self._attempt(passage, endpoint)
            if answer is not None:
                return answer
        raise await self._failure(passage)

    async def _resolve(self, passage: _Passage[_T]) -> RockletEndpoint:
        try:
            return await self._resolver.resolve(passage.tenant, passage.sandbox_id)
        except RockException as error:
            if passage.may_have_run:
                raise _unanswered(passage, error) from error
            raise

    async def _attempt(self, passage: _Passage[_T], endpoint: RockletEndpoint) -> _T | None:
        """The answer, or None where there was none and the call may be sent again."""
        try:
            if passage.operation.is_open:
                # An open call takes no token, so it would not notice a foreign rocklet, nor a foreign tenant.
                await self._rocklets.clocks(endpoint)
            async with self._send(passage, endpoint) as reply:
                if reply.status == 401 or REQUEST_ID_HEADER not in reply.headers:
                    raise StaleAddress(endpoint.url)
                return await passage.receive(reply)
        except NOT_THERE as error:
            log.info("sandbox %s is not at %s: %s", passage.sandbox_id, endpoint.url, type(error).__name__)
            self._resolver.forget(passage.tenant, endpoint)
            passage.refused.add(endpoint)
        except (aiohttp.ClientError, ConnectionError) as error:
            log.warning("sandbox %s: connection lost after sending: %r", passage.sandbox_id, error)
            passage.may_have_run = True
        except asyncio.CancelledError:
            await self._cancel(passage, endpoint)
            raise
        return None

    def _send(
        self, passage: _Passage[_T], endpoint: RockletEndpoint
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        ours = {"Authorization": f"Bearer {endpoint.token}", REQUEST_ID_HEADER: current_request_id.get()}
        return self._session.request(
            passage.operation.method,
            URL(f"{endpoint.url}{passage.operation.path}?{passage.query}".removesuffix("?"), encoded=True),
            headers=headers.to_rocklet(passage.headers, ours),
            data=passage.body.content() if passage.body is not None else None,
            allow_redirects=False,
        )

    async def _cancel(self, passage: _Passage[_T], endpoint: RockletEndpoint) -> None:
        """End the action of a client that went away, unless it may come again under its own request id."""
        if passage.operation.idempotent or passage.was_named_by_client:
            return
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT):
                await self._rocklets.cancel(endpoint, current_request_id.get())
        except (RockletUnreachable, StaleAddress, TimeoutError):
            log.info("sandbox %s: the action of a client that left could not be cancelled", passage.sandbox_id)

    async def _failure(self, passage: _Passage[_T]) -> RockException:
        if passage.may_have_run and not (passage.operation.idempotent and passage.can_be_sent_again):
            return _unanswered(passage, await self._resolver.why_gone(passage.tenant, passage.sandbox_id))
        if not passage.can_be_sent_again:
            return SandboxUnreachable(
                f"the rocklet of sandbox {passage.sandbox_id} was lost while a large body was sent; send it again",
                details={"sandbox_id": passage.sandbox_id, "executed": "no"},
            )
        return await self._resolver.why_gone(passage.tenant, passage.sandbox_id)


def _unanswered(passage: _Passage[_T], why: RockException) -> RockException:
    lost = f"the rocklet of sandbox {passage.sandbox_id} was lost after {passage.operation.name} was sent"
    return unanswered(lost, why, {"sandbox_id": passage.sandbox_id})


async def _read(operation: Operation[Any, _Res], reply: aiohttp.ClientResponse) -> _Res:
    """The result that an answer says; its typed error is raised."""
    said = await reply.read()
    if reply.status != 200:
        raise from_body(decode(ErrorBody, said), reply.status)
    return decode(operation.result, said)


async def pass_down(
    request: web.Request, reply: aiohttp.ClientResponse, ours: Mapping[str, str] = MappingProxyType({})
) -> web.StreamResponse:
    """A rocklet's answer as the client gets it, streamed, with headers of `ours` in place of the rocklet's."""
    passed = headers.to_client(reply.headers, ours)
    if reply.content_length is not None and reply.content_length <= SMALL_REPLY:
        return web.Response(status=reply.status, reason=reply.reason, headers=passed, body=await reply.read())
    response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=passed)
    await response.prepare(request)
    try:
        async for chunk in reply.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, ConnectionError) as error:
        log.warning("%s: the reply was cut on its way: %r", request.path, error)
        # A clean end would pass for the whole reply, so the client's connection is cut as well.
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response
