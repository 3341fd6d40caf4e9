"""The sample of ROCK's README: one sandbox, one session, one command."""

import asyncio

from rock.actions import CreateBashSessionRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig


async def run_sandbox() -> None:
    """Start a sandbox, say hello in it, stop it."""
    config = SandboxConfig(image="python:3.11", memory="64m", cpus=0.1)
    sandbox = Sandbox(config)
    await sandbox.start()
    await sandbox.create_session(CreateBashSessionRequest(session="bash-1"))
    result = await sandbox.arun(cmd="echo Hello ROCK", session="bash-1")
    print("output:", result.output.strip())
    await sandbox.stop()


if __name__ == "__main__":
    asyncio.run(run_sandbox())
