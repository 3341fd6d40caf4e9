"""How long after its end a background command's caller goes on."""

from __future__ import annotations

import asyncio
import time

from rock._requests import ReadFileRequest
from rock.sdk.sandbox.client import Sandbox

__all__ = ["COUNT", "measure_wakeups"]

COUNT = 64
"""Commands at once."""

_COMMAND = "sleep 3; date +%s.%N"  # long enough that all have begun and are waited for
_PATIENCE = 60.0  # seconds


async def measure_wakeups(sandbox: Sandbox, session: str) -> list[float]:
    """Seconds from what each command's clock said last to when its caller went on; they share the machine's clock."""
    return sorted(await asyncio.gather(*(_measure_one(sandbox, session, number) for number in range(COUNT))))


async def _measure_one(sandbox: Sandbox, session: str, number: int) -> float:
    path = f"/tmp/rock-bench-wakeup-{number}"
    pid, refusal = await sandbox.start_nohup_process(_COMMAND, path, session)
    assert pid is not None, refusal
    has_ended, message = await sandbox.wait_for_process_completion(pid, session, _PATIENCE, 0)
    woken = time.time()
    assert has_ended, message
    return woken - float((await sandbox.read_file(ReadFileRequest(path=path))).content)
