"""Commands that take longer than ROCK's client waits for a byte: in a session, and in the background."""

import asyncio
import sys

from rock.actions import CreateBashSessionRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig

SECONDS = float(sys.argv[1])


async def main() -> None:
    """Both at once."""
    sandbox = Sandbox(SandboxConfig(memory="64m", cpus=0.1, startup_timeout=60))
    await sandbox.start()
    await sandbox.create_session(CreateBashSessionRequest(session="default"))
    command = f"sleep {SECONDS}; echo late"
    waited, left = await asyncio.gather(
        sandbox.arun(command, session="default"),
        sandbox.arun(f"bash -c '{command}'", mode="nohup", wait_timeout=SECONDS + 60),
    )
    assert (waited.output, waited.exit_code) == ("late", 0), waited
    assert (left.output, left.exit_code) == ("late", 0), left
    await sandbox.stop()


if __name__ == "__main__":
    asyncio.run(main())
