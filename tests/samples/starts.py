"""Starts with ROCK's client: many at once, some that fail, one that nobody waits for."""

import asyncio
import os

from rock import BadRequestRockError, InternalServerRockError
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig


def small(**settings: object) -> Sandbox:
    """A sandbox of which many fit."""
    return Sandbox(SandboxConfig(**{"memory": "64m", "cpus": 0.1, "startup_timeout": 60, **settings}))


async def is_refused(sandbox: Sandbox, said: str) -> None:
    """Its start is the caller's fault, and the error says which."""
    try:
        await sandbox.start()
    except BadRequestRockError as error:
        assert said in str(error), error
    else:
        raise AssertionError(f"it started, in place of {said}")


async def is_full() -> None:
    """What waits for room in vain is nobody's wrong call, and leaves nothing, whoever gives up first."""
    most = 0.6 * os.cpu_count()
    first = small(cpus=most)
    await first.start()
    try:
        await small(cpus=most, startup_timeout=4).start()
    except InternalServerRockError as error:
        assert "Failed to start sandbox" in str(error), error
    else:
        raise AssertionError("there is room for both")
    try:
        await asyncio.wait_for(small(cpus=most).start(), 1)
    except asyncio.TimeoutError:
        pass
    else:
        raise AssertionError("there is room for both")
    await first.stop()


async def main() -> None:
    """All of it."""
    await is_full()
    many = [small() for _ in range(8)]
    await asyncio.gather(*(each.start() for each in many))
    assert len({each.sandbox_id for each in many}) == 8
    await asyncio.gather(*(each.stop() for each in many))

    await is_refused(small(cpus=1000), "CPUs")
    await is_refused(small(memory="much"), "memory")
    await is_refused(small(num_gpus=0.5), "num_gpus")

    named = small(sandbox_id="named-by-its-user")
    await named.start()
    await is_refused(small(sandbox_id="named-by-its-user"), "already exists")
    await named.stop()
    again = small(sandbox_id="named-by-its-user")
    await again.start()
    assert (await again.is_alive()).is_alive
    await again.stop()

    for patience in (0.005, 0.02, 0.05, 0.1, 0.2):
        try:
            await asyncio.wait_for(small().start(), patience)
        except asyncio.TimeoutError:
            continue
        raise AssertionError("it started faster than a gateway can")


if __name__ == "__main__":
    asyncio.run(main())
