"""Starts on wires whose clients wait for a sandbox in one call, and learn of it by the answer alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rock.wire.errors import RockException
from rock.wire.messages import CreateSandboxRequest, Empty, GetSandboxRequest, SandboxStatus, State
from rock.wire.operations import CREATE_SANDBOX, GET_SANDBOX, STOP_SANDBOX
from rock_nomad.gateway.dialects import Perform
from rock_nomad.gateway.errors import why_not

__all__ = ["HOLD", "started"]

HOLD = 20.0  # seconds; the longest there is
STOP_TIMEOUT = 10.0  # seconds to end a sandbox of which nobody will hear

log = logging.getLogger(__name__)


@asynccontextmanager
async def started(perform: Perform, create: CreateSandboxRequest) -> AsyncIterator[SandboxStatus]:
    """A sandbox that runs; if the block fails, or its caller goes away, it is stopped.

    `create` stops what is abandoned.  Raises whatever prevents the start.
    """
    status = await perform(CREATE_SANDBOX, create)
    try:
        while status.state is State.PENDING:
            status = await perform(GET_SANDBOX, GetSandboxRequest(hold=HOLD), sandbox_id=status.sandbox_id)
        if status.state is State.STOPPED:
            raise why_not(status)
        yield status
    except BaseException:
        await _stop(perform, status.sandbox_id)
        raise


async def _stop(perform: Perform, sandbox_id: str) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await perform(STOP_SANDBOX, Empty(), sandbox_id=sandbox_id)
    except (RockException, TimeoutError) as error:
        log.info("sandbox %s is left to its idle timeout: %r", sandbox_id, error)
