"""The floors: the least that the same work costs on this machine, without any of our code.

`python -m tests.bench.floors` serves a bare aiohttp echo (of the request's body, or of `?bytes=N`), in a process of its
own as the rocklet is; `BarePty` is a bash on a PTY that answers a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import subprocess
import sys
import termios
import tty
from collections.abc import AsyncIterator

import uvloop
from aiohttp import web

__all__ = ["BarePty", "start_echo"]


class BarePty:
    """A bash on a PTY: write a line, wait for its mark.  What a session's command costs at the very least."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "--noediting"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "PS1": ""},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self._loop = asyncio.get_running_loop()

    async def run(self, command: str) -> bytes:
        """What the command prints, up to the mark that follows it."""
        mark = b"\x01done\x01"
        output = bytearray()
        done: asyncio.Future[None] = self._loop.create_future()

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                output.extend(os.read(self._master, 65536))
            if output.endswith(mark) and not done.done():
                done.set_result(None)

        self._loop.add_reader(self._master, read)
        os.write(self._master, f"{command}; printf '\\001done\\001'\n".encode())
        await done
        self._loop.remove_reader(self._master)
        return bytes(output[: -len(mark)])

    def close(self) -> None:
        """End the shell."""
        self._bash.kill()
        self._bash.wait()
        os.close(self._master)


@contextlib.asynccontextmanager
async def start_echo() -> AsyncIterator[str]:
    """The address of a bare aiohttp echo, in a process of its own, for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.floors", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    wanted = request.query.get("bytes")
    return web.Response(body=body if wanted is None else b"x" * int(wanted), content_type="application/json")


async def _serve() -> None:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve())
