"""The way to one sandbox: straight to its rocklet where that works, through the gateway where it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from rock import _loops
from rock._gateway import Gateway, new_request_id
from rock._reach import HOSTS
from rock._routing import Attempt, Direct, Outcome, Way, next_way
from rock._transport import Body, Call, Lost, NotSent, Route, RouteFailure
from rock.wire import messages as m
from rock.wire.errors import (
    ClusterUnavailable,
    GatewayUnreachable,
    NotReady,
    OutcomeUnknown,
    RockException,
    SandboxDied,
    SandboxEnded,
    SandboxNotFound,
    SandboxUnreachable,
    StartFailed,
)
from rock.wire.operations import CANCEL, IS_ALIVE, RESOLVE_ROCKLET, Operation

__all__ = ["Connection"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)

_DIRECT_CONNECT_TIMEOUT = 0.25  # seconds; inside one network, and there is another way
_CANCEL_TIMEOUT = 2.0  # seconds that a cancelled call may take to end its command

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

        Raises OutcomeUnknown: it may or may not have run; SandboxUnreachable, GatewayUnreachable: it has not; any
        RockException that the rocklet or the gateway answers.
        """
        call = self._call(operation, request)
        try:
            result: _Res = await self._deliver(call, lambda route: route.call(call))
        except asyncio.CancelledError:
            if not operation.idempotent:
                await self._cancel(call)
            raise
        return result

    async def upload(self, operation: Operation[_Req, _Res], request: _Req, *, body: Body, size: int) -> _Res:
        """The result of an operation that takes a body of `size` bytes."""
        call = self._call(operation, request, body, size)
        result: _Res = await self._deliver(call, lambda route: route.call(call))
        return result

    async def download(
        self, operation: Operation[_Req, Any], request: _Req, receive: Callable[[Route, Call], Awaitable[_T]]
    ) -> _T:
        """What `receive` makes of the answer's stream; it starts from the beginning for every attempt."""
        call = self._call(operation, request)
        return await self._deliver(call, lambda route: receive(route, call))

    def _call(
        self, operation: Operation[Any, Any], request: msgspec.Struct, body: Body | None = None, size: int = 0
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
            if way is Way.GATEWAY:
                await self._explore()
            try:
                answer = await send(await self._route(way))
            except RouteFailure as error:
                failure = error
                tried.append((way, self._learn_from(way, error)))
            except RockException as error:
                if not isinstance(error, _NOT_THE_ROCKLETS_WORD) or not _may_have_run(call, tried):
                    raise
                raise _outcome_unknown(call, error) from error
            else:
                self._learn_from_success(way)
                return answer
            log.debug("%s of sandbox %s: %s", call.operation.name, call.sandbox_id, failure)
        if _may_have_run(call, tried):
            raise _outcome_unknown(call, failure) from failure
        kind = GatewayUnreachable if tried[-1][0] is Way.GATEWAY else SandboxUnreachable
        raise kind(str(failure)) from failure

    def _next_way(self, tried: list[Attempt]) -> Way | None:
        endpoint = self._endpoint
        return next_way(
            self._direct,
            can_reach=endpoint is not None and HOSTS.verdict(_host(endpoint)) is True,
            is_known=endpoint is not None,
            tried=tried,
        )

    async def _route(self, way: Way) -> Route:
        if way is Way.GATEWAY:
            return self._gateway.route
        endpoint = self._endpoint
        if way is Way.RESOLVED or endpoint is None:
            endpoint = await self._resolve()
        return _direct_route(endpoint)

    async def _resolve(self) -> m.RockletEndpoint:
        self._endpoint = await self._gateway.call(RESOLVE_ROCKLET, m.Empty(), sandbox_id=self._sandbox_id)
        return self._endpoint

    def _learn_from(self, way: Way, failure: RouteFailure) -> Outcome:
        """What a failure is, having told the process and this connection what it shows."""
        if isinstance(failure, Lost):
            return Outcome.LOST
        endpoint = self._endpoint
        if isinstance(failure, NotSent) and not failure.is_refused:
            if way is not Way.GATEWAY and endpoint is not None:
                HOSTS.learn(_host(endpoint), is_reachable=False)
            return Outcome.UNREACHABLE
        if way is not Way.GATEWAY:
            self._endpoint = None
        return Outcome.REFUSED if isinstance(failure, NotSent) else Outcome.STALE

    def _learn_from_success(self, way: Way) -> None:
        if way is not Way.GATEWAY and (endpoint := self._endpoint) is not None:
            HOSTS.learn(_host(endpoint), is_reachable=True)

    async def _explore(self) -> None:
        """While a call goes through the gateway, find out in the background whether the next one need not."""
        endpoint = self._endpoint
        if self._direct != "auto" or (endpoint is not None and HOSTS.verdict(_host(endpoint)) is not None):
            return
        state = await _loops.of_running_loop()
        state.start(("explore", self._sandbox_id), self._probe)

    async def _probe(self) -> None:
        endpoint = self._endpoint or await self._resolve()
        if HOSTS.verdict(_host(endpoint)) is not None:
            return
        try:
            status = await _direct_route(endpoint).call(self._call(IS_ALIVE, m.Empty()))
        except RouteFailure as failure:
            self._learn_from(Way.DIRECT, failure)
            log.info("%s; sandbox %s goes through the gateway", failure, self._sandbox_id)
            return
        HOSTS.learn(_host(endpoint), is_reachable=True)
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


def _direct_route(endpoint: m.RockletEndpoint) -> Route:
    return Route(
        url=endpoint.url.rstrip("/"),
        headers={"Authorization": f"Bearer {endpoint.token}"},
        is_direct=True,
        connect_timeout=_DIRECT_CONNECT_TIMEOUT,
    )


def _host(endpoint: m.RockletEndpoint) -> str:
    return urlsplit(endpoint.url).hostname or ""


def _may_have_run(call: Call, tried: list[Attempt]) -> bool:
    return not call.operation.idempotent and any(outcome is Outcome.LOST for _, outcome in tried)


def _outcome_unknown(call: Call, cause: Exception | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"{call.operation.name} was sent to sandbox {call.sandbox_id} and no answer came: {cause}",
        reason=getattr(cause, "reason", None),
        details={"executed": "unknown", "request_id": call.request_id},
    )
