"""Actions in flight and those just done: each runs once per request id, however often it is sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from rock.wire.errors import Canceled, OutcomeUnknown, RequestIdReused

__all__ = ["Actions", "Call", "Limits", "Reply"]

_T = TypeVar("_T")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long, and how much, is kept for callers that come back."""

    reattach_grace: float = 30.0
    """Seconds that an action goes on for a caller whose connection was lost."""
    count: int = 1024
    """Actions that are remembered."""
    reply_bytes: int = 32 * 2**20
    """Of all replies together; an action whose reply had to go is remembered without it."""
    age: float = 600.0
    """Seconds that an action is remembered."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back to a caller, as a dialect wrote it."""

    status: int
    body: bytes


class Call:
    """One call, as an operation sees it."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.canceled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nobody wants the call any more."""

    def cancel(self) -> None:
        """Call it off."""
        if not self.canceled.done():
            self.canceled.set_result(None)


Perform = Callable[[Call], Awaitable[Reply]]


class _Action:
    """A call that runs, and who waits for it."""

    def __init__(self, call: Call, fingerprint: bytes) -> None:
        self.call = call
        self.fingerprint = fingerprint
        self.task: asyncio.Task[Reply] | None = None
        self.waiters = 0
        self.abandon: asyncio.TimerHandle | None = None


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has run; without its reply if there was no room for it."""

    fingerprint: bytes
    reply: Reply | None
    at: float


class Actions:
    """The calls that must not run twice.  `tasks` owns them: they outlive the connections they came on."""

    def __init__(self, tasks: asyncio.TaskGroup, limits: Limits) -> None:
        self._tasks = tasks
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, _Action] = {}
        self._done: OrderedDict[str, _Done] = OrderedDict()  # oldest first, as the next
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._reply_bytes = 0
        self._is_over = False

    async def run(self, request_id: str, fingerprint: bytes, perform: Perform, *, is_named: bool) -> Reply:
        """Perform a call; or join it while it runs, or replay it when it is done.

        If the caller has named it, a lost connection leaves it running for a while, to be joined again; else it ends.
        Raises RequestIdReused, OutcomeUnknown (it ran, but its reply is not kept any more), Canceled (before it ran);
        ConnectionAbortedError: the sandbox ended under it, and the caller is to be cut off and to ask Nomad why.
        """
        self._forget_old()
        known = self._running.get(request_id) or self._done.get(request_id)
        if known is not None and known.fingerprint != fingerprint:
            raise RequestIdReused(
                f"request id {request_id} was used for another call; make a new one for each call",
                details={"field": "request_id", "value": request_id},
            )
        if isinstance(known, _Done):
            return _replay(request_id, known)
        action = known or self._start(request_id, fingerprint, perform, is_named=is_named)
        return await self._wait(action, self._limits.reattach_grace if is_named else 0.0)

    def cancel(self, request_id: str) -> bool:
        """Call off an action; whether there was one.  One that is yet to come is remembered and never runs."""
        self._forget_old()
        action = self._running.get(request_id)
        if action is not None:
            action.call.cancel()
        elif request_id not in self._done:
            self._refused[request_id] = self._loop.time()
        return action is not None

    def cancel_all(self) -> None:
        """Call off whatever runs, because the sandbox ends."""
        self._is_over = True
        for action in self._running.values():
            action.call.cancel()

    def _start(self, request_id: str, fingerprint: bytes, perform: Perform, *, is_named: bool) -> _Action:
        if self._refused.pop(request_id, None) is not None:
            raise Canceled(f"request {request_id} was canceled before it came; nothing was run")
        action = self._running[request_id] = _Action(Call(request_id), fingerprint)
        work = self._perform(action, perform, is_kept=is_named)
        action.task = self._tasks.create_task(work, name=f"action {request_id}")
        return action

    async def _perform(self, action: _Action, perform: Perform, *, is_kept: bool) -> Reply:
        try:
            reply = await perform(action.call)
        finally:
            del self._running[action.call.request_id]
            if action.abandon is not None:
                action.abandon.cancel()
        if is_kept:
            self._keep(action, reply)
        return reply

    async def _wait(self, action: _Action, grace: float) -> Reply:
        """Wait for an action, which goes on for `grace` seconds when the last who waited has gone."""
        assert action.task is not None
        action.waiters += 1
        if action.abandon is not None:
            action.abandon.cancel()
        try:
            reply = await asyncio.shield(action.task)
        finally:
            action.waiters -= 1
            if action.waiters == 0 and not action.task.done():
                action.abandon = self._loop.call_later(grace, action.call.cancel)
        if self._is_over and action.call.canceled.done():
            # The reply says that it was canceled, as if its caller had wished so.
            raise ConnectionAbortedError
        return reply

    def _keep(self, action: _Action, reply: Reply) -> None:
        fits = len(reply.body) <= self._limits.reply_bytes
        done = _Done(fingerprint=action.fingerprint, reply=reply if fits else None, at=self._loop.time())
        self._done[action.call.request_id] = done
        self._reply_bytes += len(reply.body) if fits else 0
        self._forget_old()

    def _forget_old(self) -> None:
        """Drop what is too old or too many, and the oldest replies while they are too large."""
        oldest = self._loop.time() - self._limits.age
        while self._refused and (len(self._refused) > self._limits.count or _first(self._refused) < oldest):
            self._refused.popitem(last=False)
        while self._done and (len(self._done) > self._limits.count or _first(self._done).at < oldest):
            _, done = self._done.popitem(last=False)
            self._reply_bytes -= len(done.reply.body) if done.reply else 0
        if self._reply_bytes > self._limits.reply_bytes:
            for request_id, done in self._done.items():
                if done.reply is not None:
                    self._done[request_id] = msgspec.structs.replace(done, reply=None)
                    self._reply_bytes -= len(done.reply.body)
                if self._reply_bytes <= self._limits.reply_bytes:
                    break


def _first(ordered: OrderedDict[str, _T]) -> _T:
    return next(iter(ordered.values()))


def _replay(request_id: str, done: _Done) -> Reply:
    if done.reply is None:
        raise OutcomeUnknown(
            f"request {request_id} has run, but its reply is no longer kept; it was not run again",
            details={"executed": True},
        )
    return done.reply
