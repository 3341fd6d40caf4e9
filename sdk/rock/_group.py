from __future__ import annotations

import asyncio
import logging

from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxGroupConfig
from rock.errors import InternalServerRockError, RockException

__all__ = ["SandboxGroup"]

log = logging.getLogger(__name__)

_RETRY_PAUSE = 1.0  # seconds; ROCK's


class SandboxGroup:
    """Like sandboxes, started and stopped together; all run or none does."""

    def __init__(self, config: SandboxGroupConfig | None = None) -> None:
        self.config = config or SandboxGroupConfig()
        self.sandbox_list = [Sandbox(self._member_config(index)) for index in range(self.config.size)]

    def _member_config(self, index: int) -> SandboxGroupConfig:
        """The group's own config, as in ROCK; with an id in it each member gets its own, numbered."""
        if self.config.sandbox_id is None:
            return self.config
        return self.config.model_copy(update={"sandbox_id": f"{self.config.sandbox_id}-{index}"})

    async def start(self) -> None:
        """Start all, `start_concurrency` at a time.

        A member that fails is tried again where that can help.  If one fails for good, every member is stopped and the
        first error is raised, with those of all members in `details["errors"]`, in the order they came.
        """
        errors: list[RockException] = []
        slots = asyncio.Semaphore(self.config.start_concurrency)
        starts = (self._start_member(sandbox, slots, errors) for sandbox in self.sandbox_list)
        try:
            # Every start is awaited, so that none goes on behind the stop.
            outcomes = await asyncio.gather(*starts, return_exceptions=True)
        except asyncio.CancelledError:
            await self.stop()
            raise
        failures = [*errors, *(outcome for outcome in outcomes if outcome is not None)]
        if failures:
            await self.stop()
            if errors:
                errors[0].details["errors"] = errors
            raise failures[0]

    async def stop(self) -> None:
        """Stop all; like a sandbox's own `stop` it raises nothing."""
        await asyncio.gather(*(sandbox.stop() for sandbox in self.sandbox_list))

    async def _start_member(self, sandbox: Sandbox, slots: asyncio.Semaphore, errors: list[RockException]) -> None:
        async with slots:
            if errors:
                return  # the group has failed already
            try:
                await self._start_with_retries(sandbox)
            except RockException as error:
                errors.append(error)

    async def _start_with_retries(self, sandbox: Sandbox) -> None:
        """Start a member; only a fault of the infrastructure is worth another try."""
        for attempt in range(1, self.config.start_retry_times):
            try:
                await sandbox.start()
            except InternalServerRockError as error:
                log.warning("start %s of %s failed: %s", attempt, self.config.start_retry_times, error)
                await asyncio.sleep(_RETRY_PAUSE)
            else:
                return
        await sandbox.start()
