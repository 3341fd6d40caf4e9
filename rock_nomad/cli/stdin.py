"""What is typed, or piped, into a command of the CLI."""

from __future__ import annotations

import asyncio
import os
import sys

__all__ = ["read_stdin"]

_CHUNK = 2**16  # bytes


async def read_stdin() -> bytes:
    """What has come on stdin, once something has; empty at its end.

    No thread waits in a read for it: the process could not end before that did.
    """
    fd = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    except PermissionError:  # a regular file, which is always ready
        return os.read(fd, _CHUNK)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
    return os.read(fd, _CHUNK)
