"""The `mock_driver`: tasks that cost nothing, for load and for failures on demand.

Source: hashicorp/nomad drivers/mock; the keys of its config that are known here keep their meaning.
"""

import asyncio
from typing import Any

from rock_nomad.embedded.drivers.driver import Capabilities, Driver, RunningTask, StartRefused, TaskSpec
from rock_nomad.embedded.lifecycle import Exited
from rock_nomad.embedded.units import SECOND, parse_duration


class MockTask:
    """A task that ends after `run_for`, or `kill_after` a stop."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._exit = Exited(
            exit_code=int(config.get("exit_code", 0)),
            signal=int(config.get("exit_signal", 0)),
            message=str(config.get("exit_err_msg", "")),
        )
        self._kill_after = _seconds(config, "kill_after")
        self._over = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(_seconds(config, "run_for"), self._over.set)

    async def wait(self) -> Exited:
        """Return once the time is over."""
        await self._over.wait()
        self._timer.cancel()
        return self._exit

    async def stop(self) -> None:
        """End after `kill_after`."""
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._kill_after, self._over.set)


class MockDriver:
    """Starts tasks that do nothing."""

    capabilities = Capabilities({"driver.mock_driver": "1"}, needs_directories=False)

    async def start(self, spec: TaskSpec) -> MockTask:
        """Start after `start_block_for`, or fail with `start_error`."""
        if blocked := _seconds(spec.config, "start_block_for"):
            await asyncio.sleep(blocked)
        if error := spec.config.get("start_error"):
            raise StartRefused(str(error))
        return MockTask(spec.config)

    async def close(self) -> None:
        """Nothing is held."""


def _seconds(config: dict[str, Any], key: str) -> float:
    """A duration of the config in seconds.

    Raises StartRefused: it is none.
    """
    try:
        return parse_duration(str(config.get(key) or "0")) / SECOND
    except ValueError as error:
        raise StartRefused(f"{key} {config[key]!r} not a valid duration: {error}") from error


_: type[Driver] = MockDriver
_task: type[RunningTask] = MockTask
