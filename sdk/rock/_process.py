from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from rock._requests import Command, RunMode
from rock._responses import BashObservation

if TYPE_CHECKING:
    from rock._sandbox import Sandbox

__all__ = ["Process"]


class Process:
    """Scripts in a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def execute_script(
        self,
        script_content: str,
        script_name: str | None = None,
        wait_timeout: int = 300,
        wait_interval: int = 10,
        cleanup: bool = True,
    ) -> BashObservation:
        """Run a bash script in nohup mode, from a file in /tmp that is removed afterwards if `cleanup`.

        `wait_interval` has no effect: nobody polls.
        """
        path = f"/tmp/{script_name or f'script_{time.time_ns()}.sh'}"  # noqa: S108 - in the sandbox; ROCK's
        written = await self.sandbox.write_file_by_path(script_content, path)
        if not written.success:
            why = f"Failed to upload script: {written.message}"
            return BashObservation(output=why, exit_code=1, failure_reason="Script upload failed")
        try:
            return await self.sandbox.arun(
                f"bash {shlex.quote(path)}", wait_timeout=wait_timeout, wait_interval=wait_interval, mode=RunMode.NOHUP
            )
        finally:
            if cleanup:
                await self.sandbox.execute(Command(command=["rm", "-f", path]))
