"""Starting a sandbox so that it is either running or not there at all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from rock import _convert, _loops
from rock._gateway import Gateway, new_request_id
from rock.wire import messages as m
from rock.wire.errors import (
    BadRequestRockError,
    ClusterUnavailable,
    GatewayUnreachable,
    RockException,
    SandboxNotFound,
    StartFailed,
)
from rock.wire.operations import CREATE_SANDBOX, GET_SANDBOX, STOP_SANDBOX
from rock.wire.reasons import REASONS, Reason
from rock.wire.spec import SandboxSpec

__all__ = ["start_sandbox"]

log = logging.getLogger(__name__)

_MAX_HOLD = 20.0  # seconds that a gateway may hold an answer, at most
_PAUSE = 1.0  # seconds before a gateway that did not answer is asked again
_ABANDON_TIMEOUT = 30.0  # seconds for undoing a start; a create in flight is held for up to `_MAX_HOLD`


async def start_sandbox(
    gateway: Gateway,
    spec: SandboxSpec,
    *,
    hold: float = _MAX_HOLD,
    on_status: Callable[[m.SandboxStatus], None] = lambda _: None,
) -> m.SandboxStatus:
    """The status of a sandbox whose rocklet answers.

    `spec` has an id, so that a create whose answer never comes can still be undone.  `on_status` is told how it stands
    while it is pending, every `hold` seconds.

    Raises the typed end of a sandbox that ended first; StartFailed: it took longer than its startup timeout.
    """
    state = await _loops.of_running_loop()
    create = state.start(("create", new_request_id()), lambda: _create(gateway, spec, hold))
    try:
        # The create is its own task: cancelling it half-way would leave nobody who knows whether there is a sandbox.
        status = await _wait_until_settled(gateway, spec, await asyncio.shield(create), hold, on_status)
    except BaseException:
        if not _was_refused(create):
            undo = state.start(("abandon", new_request_id()), lambda: _abandon(gateway, spec, create))
            await asyncio.wait([undo], timeout=_ABANDON_TIMEOUT)
        raise
    if status.state is m.State.PENDING:
        raise await _give_up(gateway, spec, status)
    if status.state is m.State.STOPPED:
        raise _convert.to_end(status)
    return status


async def _create(gateway: Gateway, spec: SandboxSpec, hold: float) -> m.SandboxStatus:
    request = m.CreateSandboxRequest(spec=spec, hold=min(hold, spec.startup_timeout))
    return await gateway.call(CREATE_SANDBOX, request)


async def _wait_until_settled(
    gateway: Gateway,
    spec: SandboxSpec,
    status: m.SandboxStatus,
    hold: float,
    on_status: Callable[[m.SandboxStatus], None],
) -> m.SandboxStatus:
    """A status other than pending, or the last one before the startup timeout."""
    deadline = time.monotonic() + spec.startup_timeout
    while status.state is m.State.PENDING and (left := deadline - time.monotonic()) > 0:
        on_status(status)
        try:
            request = m.GetSandboxRequest(hold=min(hold, left))
            status = await gateway.call(GET_SANDBOX, request, sandbox_id=status.sandbox_id)
        except (ClusterUnavailable, GatewayUnreachable) as error:
            # The sandbox goes on starting without them; they have until its startup timeout to come back.
            log.info("sandbox %s: %s", spec.sandbox_id, error)
            await asyncio.sleep(_PAUSE)
    return status


async def _give_up(gateway: Gateway, spec: SandboxSpec, status: m.SandboxStatus) -> StartFailed:
    """Stop a sandbox that has not started in time; the error that says why, as far as Nomad knows."""
    reason = Reason.STARTUP_TIMEOUT
    try:
        stopped = await gateway.call(STOP_SANDBOX, m.Empty(), sandbox_id=status.sandbox_id)
        if stopped.reason is Reason.NO_CAPACITY:
            reason = stopped.reason
    except RockException as error:
        log.warning("sandbox %s could not be stopped, its own clocks will end it: %s", spec.sandbox_id, error)
    return StartFailed(
        f"sandbox {spec.sandbox_id} did not start within {spec.startup_timeout:g} s: "
        f"{status.message or REASONS[reason].summary}; {REASONS[reason].remedy}",
        reason=reason,
    )


def _was_refused(create: asyncio.Task[m.SandboxStatus]) -> bool:
    """Whether the create has made nothing; then there may be another's sandbox of that id, not to be stopped."""
    if not create.done() or create.cancelled():
        return False
    return isinstance(create.exception(), (BadRequestRockError, GatewayUnreachable))


async def _abandon(gateway: Gateway, spec: SandboxSpec, create: asyncio.Task[m.SandboxStatus]) -> None:
    """Stop what a create has made or is about to make."""
    try:
        await _stop(gateway, spec)
    except SandboxNotFound:
        if create.done():
            return  # it never came to be
        # The stop has overtaken the create.
        await asyncio.wait([create])
        await _stop(gateway, spec)


async def _stop(gateway: Gateway, spec: SandboxSpec) -> None:
    try:
        await gateway.call(STOP_SANDBOX, m.Empty(), sandbox_id=spec.sandbox_id or "")
    except SandboxNotFound:
        raise
    except RockException as error:
        log.warning("sandbox %s could not be stopped, its idle timeout will end it: %s", spec.sandbox_id, error)
