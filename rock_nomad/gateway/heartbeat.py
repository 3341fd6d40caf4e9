"""Answers that take long, on wires whose clients give up when they hear nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

__all__ = ["answer_with_heartbeat"]

FIRST_BEAT = 0.05  # seconds; most commands take less, and then their answer goes out in one piece
BEAT = 1.0  # seconds

_JSON = "application/json"


async def answer_with_heartbeat(request: web.Request, work: Coroutine[Any, Any, bytes]) -> web.StreamResponse:
    """The JSON that `work` comes to, with whitespace ahead of it for as long as that takes.

    JSON allows whitespace at its beginning, and a client whose read timeout counts from the last byte keeps waiting.
    When the client goes away `work` is cancelled.
    """
    response = web.StreamResponse(headers={"Content-Type": _JSON})
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            if not await _is_done(task, FIRST_BEAT):
                await response.prepare(request)
                await _write(response, b" ")
                while not await _is_done(task, BEAT):
                    await _write(response, b" ")
    except BaseExceptionGroup as raised:
        # One thing went wrong: it should be raised as itself.
        raise raised.exceptions[0] from None
    if not response.prepared:
        return web.Response(body=task.result(), content_type=_JSON)
    await _write(response, task.result())
    await response.write_eof()
    return response


async def _is_done(task: asyncio.Task[bytes], patience: float) -> bool:
    await asyncio.wait((task,), timeout=patience)
    return task.done()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # the client is gone, and the server is about to cancel us
        await response.write(data)
