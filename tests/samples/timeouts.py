"""Timeouts with ROCK's client: what was printed so far comes back, and the session goes on."""

import asyncio
import time

from rock.actions import Action, CreateBashSessionRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig


async def main() -> None:
    """Two seconds are the command's, whatever the way to it takes."""
    sandbox = Sandbox(SandboxConfig(memory="64m", cpus=0.1, startup_timeout=30))
    await sandbox.start()
    await sandbox.create_session(CreateBashSessionRequest(session="default"))
    began = time.monotonic()
    try:
        await sandbox.run_in_session(Action(command="echo so far; sleep 60", session="default", timeout=2))
    except Exception as error:
        assert "timeout after 2" in str(error), error
        assert "so far" in str(error), error
    else:
        raise AssertionError("no error")
    assert 2 <= time.monotonic() - began < 4
    assert (await sandbox.arun("echo alive", session="default")).output == "alive"
    await sandbox.stop()


if __name__ == "__main__":
    asyncio.run(main())
