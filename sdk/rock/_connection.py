"""The way to one sandbox: straight to its rocklet where that works, through the gateway where it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from rock import _loops
from rock._gateway import Gateway, new_request_id
from rock._httpx import as_httpx
from rock._reach import HOSTS
from rock._routing import Attempt, Direct, Outcome, Way, next_way
from rock._transport import Body, Call, Lost, NotSent, Route, RouteFailure
from rock.wire import messages as m
from rock.wire.errors import (
    ClusterUnavailable,
    GatewayUnreachable,
    NotReady,
    RockException,
    SandboxDied,
    SandboxEnded,
    SandboxNotFound,
    SandboxUnreachable,
    StartFailed,
    unanswered,
)
from rock.wire.frames import FrameKind
from rock.wire.operations import CANCEL, IS_ALIVE, RESOLVE_ROCKLET, Operation

__all__ = ["Connection"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)

# Seconds to connect to a rocklet.  Connecting takes a millisecond, unless this process's own loop is busy.
_PROBE_TIMEOUT = 0.25  # nobody waits for it, and there is another way
_KNOWN_TIMEOUT = 0.75  # the host has answered before; a call that falls back still takes less than a second
_ONLY_TIMEOUT = 5.0  # there is no other way
_CANCEL_TIMEOUT = 2.0  # seconds that a cancelled call may take to end its command
_REATTACH_TIMEOUT = 30.0  # seconds without a way; as long as a rocklet keeps a command for a reader that was lost
_REATTACH_PAUSE = 0.5  # seconds before all ways are tried again

_NOT_THE_ROCKLETS_WORD = (
    ClusterUnavailable,
    GatewayUnreachable,
    NotReady,
    SandboxDied,
    SandboxEnded,
    SandboxNotFound,
    SandboxUnreachable,
    StartFailed,
)
"""Errors of a gateway that has not heard the rocklet, and so cannot say what became of a call sent before."""


class Connection:
    """A sandbox's rocklet, by whichever way it can be reached.

    What it knows, an address and a token, can be pickled; sockets belong to the loop (`_loops`), and which hosts can be
    reached is the process's to know (`_reach`).
    """

    def __init__(self, gateway: Gateway, sandbox_id: str, direct: Direct = "auto") -> None:
        self._gateway = gateway
        self._sandbox_id = sandbox_id
        self._direct = direct
        self._endpoint: m.RockletEndpoint | None = None

    def learn(self, endpoint: m.RockletEndpoint | None) -> None:
        """Take note of where the rocklet is said to be."""
        if endpoint is not None:
            self._endpoint = endpoint

    async def call(self, operation: Operation[_Req, _Res], request: _Req) -> _Res:
        """The operation's result, run at most once.

        A call that is cancelled ends its command in the sandbox before it raises.

        Raises OutcomeUnknown, or how the sandbox ended, with `executed: unknown`: it may or may not have run;
        SandboxUnreachable, GatewayUnreachable: it has not; any RockException that the rocklet or the gateway answers.
        """
        call = self._call(operation, request)
        try:
            result: _Res = await self._deliver(call, lambda route: route.call(call))
        except asyncio.CancelledError:
            if not operation.idempotent:
                await self._cancel(call)
            raise
        return result

    async def upload(self, operation: Operation[_Req, _Res], request: _Req, *, body: Body, size: int | None) -> _Res:
        """The result of an operation that takes a body, of `size` bytes if that can be told."""
        call = self._call(operation, request, body, size)
        result: _Res = await self._deliver(call, lambda route: route.call(call))
        return result

    async def download(
        self, operation: Operation[_Req, Any], request: _Req, receive: Callable[[Route, Call], Awaitable[_T]]
    ) -> _T:
        """What `receive` makes of the answer's stream; it starts from the beginning for every attempt."""
        call = self._call(operation, request)
        return await self._deliver(call, lambda route: receive(route, call))

    async def follow(
        self, operation: Operation[_Req, m.Empty], resume: Callable[[], _Req]
    ) -> AsyncGenerator[tuple[FrameKind, bytes], None]:
        """The frames of what is followed, over as many connections as it takes; `resume` asks for what has not come.

        Raises SandboxUnreachable, GatewayUnreachable: for half a minute there was no way to it, which says nothing
        about what is followed; any RockException that the rocklet or the gateway answers.
        """
        loop = asyncio.get_running_loop()
        tried: list[Attempt] = []
        came = loop.time()
        while True:
            way = self._next_way(tried)
            assert way is not None
            try:
                route = await self._route(way)
                async with aclosing(route.frames(self._call(operation, resume()))) as frames:
                    async for kind, payload in frames:
                        tried, came = [], loop.time()
                        yield kind, payload
                return
            except RouteFailure as failure:
                log.debug("%s of sandbox %s: %s", operation.name, self._sandbox_id, failure)
                tried.append((way, self._learn_from(failure)))
                if self._next_way(tried) is None:
                    if loop.time() - came > _REATTACH_TIMEOUT:
                        raise _unreachable(tried, failure) from failure
                    await asyncio.sleep(_REATTACH_PAUSE)
                    tried = []

    def _call(
        self, operation: Operation[Any, Any], request: msgspec.Struct, body: Body | None = None, size: int | None = None
    ) -> Call:
        return Call(
            operation=operation,
            request=request,
            request_id=new_request_id(),
            sandbox_id=self._sandbox_id,
            body=body,
            body_size=size,
        )

    async def _deliver(self, call: Call, send: Callable[[Route], Awaitable[_T]]) -> _T:
        """Send one call, by as many ways as it takes to get an answer."""
        tried: list[Attempt] = []
        failure: Exception | None = None
        while (way := self._next_way(tried)) is not None:
            try:
                route = await self._route(way)
                answer = await send(route)
            except RouteFailure as error:
                failure = error
                tried.append((way, self._learn_from(error)))
            except RockException as error:
                if not isinstance(error, _NOT_THE_ROCKLETS_WORD) or not _may_have_run(call, tried):
                    raise
                raise _unanswered(call, error) from error
            else:
                if route.is_direct:
                    HOSTS.learn(_host(route.url), is_reachable=True)
                return answer
            log.debug("%s of sandbox %s: %s", call.operation.name, call.sandbox_id, failure)
        if _may_have_run(call, tried):
            raise _unanswered(call, failure) from failure
        raise _unreachable(tried, failure) from failure

    def _next_way(self, tried: list[Attempt]) -> Way | None:
        endpoint = self._endpoint
        return next_way(
            self._direct,
            can_reach=endpoint is not None and HOSTS.verdict(_host(endpoint.url)) is True,
            is_known=endpoint is not None,
            tried=tried,
        )

    async def _route(self, way: Way) -> Route:
        if way is Way.GATEWAY:
            await self._explore()
            return self._gateway.route
        endpoint = self._endpoint
        if way is Way.RESOLVED or endpoint is None:
            endpoint = await self._resolve()
        return _direct_route(endpoint, _ONLY_TIMEOUT if self._direct == "always" else _KNOWN_TIMEOUT)

    async def _resolve(self) -> m.RockletEndpoint:
        self._endpoint = await self._gateway.call(RESOLVE_ROCKLET, m.Empty(), sandbox_id=self._sandbox_id)
        return self._endpoint

    def _learn_from(self, failure: RouteFailure) -> Outcome:
        """What a failure is, having told the process and this connection what it shows."""
        if isinstance(failure, Lost):
            return Outcome.LOST
        if isinstance(failure, NotSent) and not failure.is_refused:
            if failure.route.is_direct:
                HOSTS.learn(_host(failure.route.url), is_reachable=False)
            return Outcome.UNREACHABLE
        self._drop(failure.route)
        return Outcome.REFUSED if isinstance(failure, NotSent) else Outcome.STALE

    def _drop(self, route: Route) -> None:
        """Forget an address that is not the rocklet's, unless another call has found a better one meanwhile."""
        endpoint = self._endpoint
        if endpoint is not None and endpoint.url == route.url:
            self._endpoint = None

    async def _explore(self) -> None:
        """While a call goes through the gateway, find out in the background whether the next one need not."""
        endpoint = self._endpoint
        if self._direct != "auto" or (endpoint is not None and HOSTS.verdict(_host(endpoint.url)) is not None):
            return
        state = await _loops.of_running_loop()
        state.start(("explore", self._sandbox_id), self._probe)

    async def _probe(self) -> None:
        endpoint = self._endpoint or await self._resolve()
        if HOSTS.verdict(_host(endpoint.url)) is not None:
            return
        try:
            status = await _direct_route(endpoint, _PROBE_TIMEOUT).call(self._call(IS_ALIVE, m.Empty()))
        except RouteFailure as failure:
            self._learn_from(failure)
            log.info("%s; sandbox %s goes through the gateway", failure, self._sandbox_id)
            return
        HOSTS.learn(_host(endpoint.url), is_reachable=True)
        if status.sandbox_id != self._sandbox_id:
            self._endpoint = None  # the port is somebody else's by now; the next call asks anew

    async def _cancel(self, call: Call) -> None:
        """End the command of a call that was cancelled.  Bounded; a second cancellation does not wait for it."""
        state = await _loops.of_running_loop()
        ending = state.start(("cancel", call.request_id), lambda: self._send_cancel(call.request_id))
        await asyncio.wait([ending], timeout=_CANCEL_TIMEOUT)

    async def _send_cancel(self, request_id: str) -> None:
        cancel = self._call(CANCEL, m.CancelRequest(request_id=request_id))
        await self._deliver(cancel, lambda route: route.call(cancel))


def _direct_route(endpoint: m.RockletEndpoint, connect_timeout: float) -> Route:
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    return Route(url=endpoint.url, headers=headers, is_direct=True, connect_timeout=connect_timeout)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _unreachable(tried: list[Attempt], failure: Exception | None) -> RockException:
    kind = GatewayUnreachable if tried[-1][0] is Way.GATEWAY else SandboxUnreachable
    return as_httpx(kind(str(failure)))


def _may_have_run(call: Call, tried: list[Attempt]) -> bool:
    return not call.operation.idempotent and any(outcome is Outcome.LOST for _, outcome in tried)


def _unanswered(call: Call, why: Exception | None) -> RockException:
    sent = f"{call.operation.name} was sent to sandbox {call.sandbox_id} and no answer came"
    return as_httpx(unanswered(sent, why, {"request_id": call.request_id}))
