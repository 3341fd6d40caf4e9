"""Actions in flight and those just done: each runs once per request id, however often it is sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from rock.wire.errors import Canceled, OutcomeUnknown, RequestIdReused

__all__ = ["Actions", "Call", "Reply"]

REATTACH_GRACE = 30.0  # seconds that an action goes on for a caller whose connection was lost
REPLAY_COUNT = 1024  # actions that are remembered
REPLAY_BYTES = 32 * 2**20  # of replies that are kept; beyond it an action is remembered without its reply
REPLAY_AGE = 600.0  # seconds that an action is remembered


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


class _Action:
    """A call that runs or has run, and who waits for it."""

    def __init__(self, call: Call, fingerprint: bytes) -> None:
        self.call = call
        self.fingerprint = fingerprint
        self.task: asyncio.Task[Reply] | None = None
        self.reply: Reply | None = None
        self.done_at: float | None = None
        self.waiters = 0
        self.abandon: asyncio.TimerHandle | None = None


class Actions:
    """The calls that must not run twice.  `tasks` owns them: they outlive the connections they came on."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._actions: OrderedDict[str, _Action] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._kept_bytes = 0

    async def run(
        self, request_id: str, fingerprint: bytes, perform: Callable[[Call], Awaitable[Reply]], *, is_named: bool
    ) -> Reply:
        """Perform a call; or join it while it runs, or replay it when it is done.

        If the caller has named it, a lost connection leaves it running for a while, to be joined again; else it ends.
        Raises RequestIdReused, OutcomeUnknown (it ran, but its reply is not kept any more), Canceled (before it ran).
        """
        self._forget_old()
        action = self._actions.get(request_id)
        if action is None:
            action = self._start(request_id, fingerprint, perform)
        elif action.fingerprint != fingerprint:
            raise RequestIdReused(
                f"request id {request_id} was used for another call; make a new one for each call",
                details={"field": "request_id", "value": request_id},
            )
        if action.task is None:
            return _replay(action)
        return await self._wait(action, REATTACH_GRACE if is_named else 0.0)

    def cancel(self, request_id: str) -> bool:
        """Call off an action; whether there was one.  One that is yet to come is remembered and never runs."""
        self._forget_old()
        action = self._actions.get(request_id)
        if action is None:
            self._refused[request_id] = self._loop.time()
            return False
        action.call.cancel()
        return action.task is not None

    def cancel_all(self) -> None:
        """Call off whatever runs."""
        for action in self._actions.values():
            action.call.cancel()

    def _start(self, request_id: str, fingerprint: bytes, perform: Callable[[Call], Awaitable[Reply]]) -> _Action:
        if self._refused.pop(request_id, None) is not None:
            raise Canceled(f"request {request_id} was canceled before it came; nothing was run")
        action = _Action(Call(request_id), fingerprint)
        action.task = self._tasks.create_task(self._perform(action, perform), name=f"action {request_id}")
        self._actions[request_id] = action
        return action

    async def _perform(self, action: _Action, perform: Callable[[Call], Awaitable[Reply]]) -> Reply:
        try:
            reply = await perform(action.call)
        finally:
            action.task = None
            action.done_at = self._loop.time()
            if action.abandon is not None:
                action.abandon.cancel()
            self._actions.move_to_end(action.call.request_id)
        if len(reply.body) <= REPLAY_BYTES:
            action.reply = reply
            self._kept_bytes += len(reply.body)
        self._forget_old()
        return reply

    async def _wait(self, action: _Action, grace: float) -> Reply:
        assert action.task is not None
        action.waiters += 1
        if action.abandon is not None:
            action.abandon.cancel()
        try:
            return await asyncio.shield(action.task)
        finally:
            action.waiters -= 1
            if action.waiters == 0 and action.task is not None:
                action.abandon = self._loop.call_later(grace, action.call.cancel)

    def _forget_old(self) -> None:
        """Drop what is too old, then the replies and then the ids that are too many."""
        oldest = self._loop.time() - REPLAY_AGE
        while self._refused and (next(iter(self._refused.values())) < oldest or len(self._refused) > REPLAY_COUNT):
            self._refused.popitem(last=False)
        excess = len(self._actions) - REPLAY_COUNT
        for request_id, action in list(self._actions.items()) if self._is_over(oldest) else ():
            if action.done_at is None:
                continue
            if action.done_at < oldest or excess > 0:
                del self._actions[request_id]
                excess -= 1
            elif self._kept_bytes <= REPLAY_BYTES:
                break
            self._kept_bytes -= len(action.reply.body) if action.reply else 0
            action.reply = None

    def _is_over(self, oldest: float) -> bool:
        first = next((each for each in self._actions.values() if each.done_at is not None), None)
        too_old = first is not None and first.done_at is not None and first.done_at < oldest
        return too_old or len(self._actions) > REPLAY_COUNT or self._kept_bytes > REPLAY_BYTES


def _replay(action: _Action) -> Reply:
    if action.reply is None:
        raise OutcomeUnknown(
            f"request {action.call.request_id} has run, but its reply is no longer kept; it was not run again",
            details={"executed": True},
        )
    return action.reply
