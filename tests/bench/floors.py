"""The floors: the least that the same work costs on this machine, without any of our code.

`python -m tests.bench.floors` is a bare aiohttp server, in a process of its own as a rocklet is.  It echoes, and runs
commands in bashes on bare PTYs; told of another server, it is a bare proxy of that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from dataclasses import dataclass, field

import uvloop
from aiohttp import ClientSession, web

__all__ = ["BarePty", "spawn_true"]

_BASH = ["bash", "--noprofile", "--norc", "--noediting"]
_TRUE = ["true"]
_MARK = b"\x01done\x01"


class BarePty:
    """A bash on a PTY: write a line, wait for its mark.  What a session's command costs at the very least."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        # What a session leader opens first becomes its terminal.
        terminal = [(os.POSIX_SPAWN_OPEN, number, os.ttyname(slave), os.O_RDWR, 0) for number in (0, 1, 2)]
        environment = {**os.environ, "PS1": ""}
        self._bash = os.posix_spawnp(_BASH[0], _BASH, environment, file_actions=terminal, setsid=True)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._loop = asyncio.get_running_loop()

    async def run(self, command: str) -> bytes:
        """What the command prints, up to the mark that follows it."""
        output = bytearray()
        done: asyncio.Future[None] = self._loop.create_future()

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                output.extend(os.read(self._master, 65536))
            if output.endswith(_MARK) and not done.done():
                done.set_result(None)

        self._loop.add_reader(self._master, read)
        os.write(self._master, f"{command}; printf '\\001done\\001'\n".encode())
        await done
        self._loop.remove_reader(self._master)
        return bytes(output[: -len(_MARK)])

    @property
    def pid(self) -> int:
        """Of the shell."""
        return self._bash

    def close(self) -> None:
        """End the shell."""
        os.close(self._master)
        os.waitpid(self._bash, 0)  # it has lost its terminal


def spawn_true() -> None:
    """Run `true`, and wait for it as bluntly as can be."""
    os.waitpid(os.posix_spawnp(_TRUE[0], _TRUE, os.environ), 0)


@dataclass
class _Bare:
    """What the server knows: its bashes by the number of their session."""

    bashes: dict[str, BarePty] = field(default_factory=dict)

    async def echo(self, request: web.Request) -> web.Response:
        """The request's body, or `?bytes=N`."""
        body = await request.read()
        wanted = request.query.get("bytes")
        return web.Response(body=body if wanted is None else b"x" * int(wanted), content_type="application/json")

    async def run(self, request: web.Request) -> web.Response:
        """The output of the body's command in the bash of `?session=N`, which is started if need be."""
        command = (await request.read()).decode()
        session = request.query["session"]
        if session not in self.bashes:
            self.bashes[session] = BarePty()
        return web.Response(body=await self.bashes[session].run(command), content_type="application/json")


async def _proxy(http: ClientSession, backend: str, request: web.Request) -> web.Response:
    async with http.request(request.method, backend + request.path_qs, data=await request.read()) as answer:
        return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")


async def _serve(backend: str | None) -> None:
    app = web.Application(client_max_size=2**30)
    async with ClientSession() as http:
        if backend is None:
            bare = _Bare()
            app.router.add_post("/", bare.echo)
            app.router.add_post("/run", bare.run)
        else:
            app.router.add_post("/{path:.*}", lambda request: _proxy(http, backend, request))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(f"listens on port {runner.addresses[0][1]}", file=sys.stderr)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(sys.argv[1] if sys.argv[1:] else None))
