"""`cp`: files and directories to a sandbox and back."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from rock._connection import Connection
from rock._files import LocalSource, receive_file
from rock._transport import Call, Route
from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.archives import pack, unpack
from rock.wire.errors import InvalidRequest
from rock_nomad.cli.options import connect

__all__ = ["COMMANDS", "split_place"]

_REMOTE = re.compile(r"([a-z0-9][a-z0-9.-]*):(.+)", re.DOTALL)


async def cp(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A path, SANDBOX:PATH, or - for stdin.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="A path, SANDBOX:PATH, or - for stdout.")],
) -> None:
    """Copy a file or a directory to a sandbox or from it; into DST if that is a directory."""
    (source_box, source_path), (target_box, target_path) = split_place(source), split_place(target)
    if (source_box is None) == (target_box is None):
        raise InvalidRequest("one of SRC and DST is in a sandbox, as SANDBOX:PATH, and the other is not")
    try:
        if target_box is not None:
            await _send(Connection(connect(), target_box), source_path, target_path)
        elif source_box is not None:
            await _fetch(Connection(connect(), source_box), source_path, target_path)
    except (OSError, ValueError, tarfile.TarError) as error:
        raise InvalidRequest(f"{source} cannot be copied to {target}: {error}") from error


def split_place(text: str) -> tuple[str | None, str]:
    """The sandbox, or None, and the path of `SANDBOX:PATH`; a local path with a colon is written `./a:b`."""
    found = _REMOTE.fullmatch(text)
    return (found[1], found[2]) if found else (None, text)


async def _send(connection: Connection, source: str, target: str) -> None:
    if source == "-":
        with tempfile.TemporaryDirectory(prefix="rock-cp-") as folder:
            kept = Path(folder, "stdin")  # so that it can be sent again
            await asyncio.to_thread(_keep_stdin, kept)
            body = LocalSource(kept)
            await connection.upload(op.UPLOAD, m.UploadRequest(path=target), body=body, size=body.size)
        return
    await asyncio.to_thread(os.stat, source)

    async def pieces() -> AsyncIterator[bytes]:
        packing = pack(source)
        try:
            while piece := await asyncio.to_thread(next, packing, b""):
                yield piece
        finally:
            packing.close()

    name = os.path.basename(os.path.abspath(source))
    await connection.upload(op.UNPACK, m.UnpackRequest(path=target, name=name), body=pieces, size=None)


async def _fetch(connection: Connection, source: str, target: str) -> None:
    if target == "-":
        with tempfile.TemporaryDirectory(prefix="rock-cp-") as folder:
            kept = Path(folder, "stdout")  # so that what is fetched twice is written once
            request = m.DownloadRequest(path=source)
            await connection.download(op.DOWNLOAD, request, lambda route, call: receive_file(route, call, kept))
            await asyncio.to_thread(_show, kept)
        return

    async def receive(route: Route, call: Call) -> str:
        async with route.stream(call) as (_, pieces):
            return await unpack(pieces, target, os.path.basename(source.rstrip("/")))

    await connection.download(op.PACK, m.ArchiveRequest(path=source), receive)


def _keep_stdin(path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)


def _show(path: Path) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


COMMANDS = (cp,)
