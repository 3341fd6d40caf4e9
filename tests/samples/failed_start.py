"""A start that fails by a fault of the cluster's: ROCK's client raises the class that says so, at once."""

import asyncio
import time

from rock import InternalServerRockError
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig


async def main() -> None:
    """Long before the start's timeout."""
    began = time.monotonic()
    try:
        await Sandbox(SandboxConfig(memory="64m", cpus=0.1, startup_timeout=120)).start()
    except InternalServerRockError as error:
        assert "its rocklet exited before it was ready" in str(error), error
    else:
        raise AssertionError("it started")
    assert time.monotonic() - began < 60


if __name__ == "__main__":
    asyncio.run(main())
