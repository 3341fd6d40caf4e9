from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rock_nomad.embedded.drivers.driver import StartRefused
from rock_nomad.embedded.drivers.mock import MockDriver
from rock_nomad.embedded.lifecycle import Exited
from tests.rock_nomad.embedded.drivers.specs import make_spec

DRIVER = MockDriver()


async def run(**config: Any) -> Exited:  # noqa: ANN401 - the driver's config
    task = await DRIVER.start(make_spec(config=config))
    return await task.wait()


async def test_a_task_ends_by_itself_with_its_code() -> None:
    assert await run(run_for="1ms", exit_code=3) == Exited(3)
    assert await run(exit_code=1, exit_signal=9, exit_err_msg="gone") == Exited(1, signal=9, message="gone")


async def test_a_start_error_is_the_drivers_text() -> None:
    with pytest.raises(StartRefused, match=r"^boom$"):
        await run(start_error="boom", start_block_for="1ms")


async def test_a_bad_duration_is_named() -> None:
    with pytest.raises(StartRefused, match="run_for 'soon' not a valid duration"):
        await run(run_for="soon")


@pytest.mark.parametrize("kill_after", ["0s", "5ms"])
async def test_a_stopped_task_ends_before_its_time(kill_after: str) -> None:
    task = await DRIVER.start(make_spec(config={"run_for": "1h", "kill_after": kill_after}))
    await task.stop()
    async with asyncio.timeout(60):
        assert await task.wait() == Exited(0)
    await DRIVER.close()
