"""Reads logs as `guard.LogFile` lays them out, in the frames that Nomad's API sends.

Source: hashicorp/nomad client/fs_endpoint.go and api/fs.go; frames and heartbeats were seen of Nomad 2.0.5.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncGenerator
from pathlib import Path

_CHUNK = 2**16  # bytes; Nomad's largest frame
_LOOK_INTERVAL = 0.25  # seconds, as Nomad's client, which asks the file system no other way either
_HEARTBEAT = 1.0  # seconds


async def read_frames(folder: Path, name: str, *, follow: bool) -> AsyncGenerator[bytes, None]:
    """The log `name` in a folder from its oldest file on, as JSON objects.

    One that is followed goes on for ever, with `{}` every second.
    """
    number, offset = 0, 0
    next_beat = time.monotonic() + _HEARTBEAT
    while True:
        numbers = _numbers(folder, name)
        number, offset = (number, offset) if number in numbers else (min(numbers, default=0), 0)
        data = _read(folder / f"{name}.{number}", offset)
        offset += len(data)
        if data:
            file = f"alloc/logs/{name}.{number}"
            yield json.dumps({"Data": base64.b64encode(data).decode(), "File": file, "Offset": offset}).encode()
        elif number + 1 in numbers:
            number, offset = number + 1, 0
        elif not follow:
            return
        else:
            await asyncio.sleep(_LOOK_INTERVAL)
        if follow and time.monotonic() >= next_beat:
            next_beat += _HEARTBEAT
            yield b"{}"


def _numbers(folder: Path, name: str) -> set[int]:
    found = (re.fullmatch(rf"{re.escape(name)}\.(\d+)", path.name) for path in folder.glob(f"{name}.*"))
    return {int(match[1]) for match in found if match}


def _read(path: Path, offset: int) -> bytes:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        return file.read(_CHUNK)
    return b""
