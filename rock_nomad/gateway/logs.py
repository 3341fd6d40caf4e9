"""What rocklets write, read from the nodes that keep it, by way of Nomad: also after a sandbox's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from rock.wire.errors import FileNotFound, RockException
from rock.wire.frames import HEARTBEAT, FrameKind, encode_frame
from rock.wire.monitoring import ReadLogRequest
from rock_nomad.base_job import TASK
from rock_nomad.gateway.calls import Call
from rock_nomad.gateway.errors import why_not
from rock_nomad.gateway.observer import Observer, Sighting
from rock_nomad.gateway.watcher import News, Watcher
from rock_nomad.names import job_id
from rock_nomad.nomad import Nomad
from rock_nomad.nomad_errors import Refused

__all__ = ["Logs"]


class Logs:
    """Reads one sandbox's log at a time, for whoever asks."""

    def __init__(self, nomad: Nomad, observer: Observer, watcher: Watcher) -> None:
        self._nomad, self._observer, self._watcher = nomad, observer, watcher

    async def read(self, call: Call, request: ReadLogRequest) -> AsyncGenerator[bytes, None]:
        """The log from its beginning; one that is followed goes on until the sandbox has ended, and comes in frames.

        Raises SandboxNotFound; NotReady, StartFailed: it has not begun; FileNotFound: its node keeps it no longer.
        """
        sandbox_id = call.sandbox_id
        tenant = None if call.caller.role == "operator" else call.caller.tenant
        with self._watcher.subscribe(job_id(sandbox_id)) as news:
            sighting = await self._observer.look(sandbox_id, tenant=tenant)
            try:
                async with aclosing(self._pieces(sandbox_id, sighting, request, news)) as pieces:
                    async for piece in _framed(pieces, request.heartbeat) if request.follow else pieces:
                        yield piece
            except Refused as refused:
                raise await self._why_none(sandbox_id, sighting, refused) from refused

    async def _pieces(
        self, sandbox_id: str, sighting: Sighting, request: ReadLogRequest, news: News
    ) -> AsyncGenerator[bytes, None]:
        """The log's bytes; of one that is followed also an empty piece now and then."""
        place = sighting.life.allocation
        if place is None:
            raise why_not(await self._observer.status(sandbox_id, sighting))
        follow, is_over = request.follow and sighting.is_live, False
        async with aclosing(self._nomad.log(place.id, TASK, request.stream, follow=follow)) as frames:
            async for frame in frames:
                if frame.data:
                    yield frame.data
                elif is_over:
                    return  # Nomad shows what was written within half a second, and says a word every second
                elif news.changed_nowait():
                    is_over = not (await self._observer.look(sandbox_id, tenant=sighting.tenant)).is_live
                else:
                    yield b""

    async def _why_none(self, sandbox_id: str, sighting: Sighting, refused: Refused) -> RockException:
        if "not started" in refused.text:
            return why_not(await self._observer.status(sandbox_id, sighting))
        return FileNotFound(
            f"the log of sandbox {sandbox_id} is gone: a node keeps those of the last sandboxes only ({refused.text})",
            details={"sandbox_id": sandbox_id},
        )


async def _framed(pieces: AsyncGenerator[bytes, None], heartbeat: float) -> AsyncGenerator[bytes, None]:
    """Pieces as frames, and a heartbeat where there were none but empty ones for so many seconds."""
    loop = asyncio.get_running_loop()
    sent = loop.time()
    async for piece in pieces:
        if piece:
            yield encode_frame(FrameKind.STDOUT, piece)
        elif loop.time() - sent >= heartbeat:
            yield HEARTBEAT
        else:
            continue
        sent = loop.time()
    yield encode_frame(FrameKind.END)
