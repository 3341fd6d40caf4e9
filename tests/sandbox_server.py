"""A server such as users run in sandboxes: `python sandbox_server.py HOST [--daemon] [--raw]` says its port and serves.

With `--raw` it is one that answers a connection with its SHA-256, once the other side has sent all.
It stands alone: in a sandbox there is nothing of ours to import.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import sys
from typing import NoReturn

from aiohttp import WSMsgType, web

_PIECE = b"0123456789abcdef" * 4096  # 64 KiB


async def show(request: web.Request) -> web.StreamResponse:
    """What came, as JSON."""
    body = await request.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    said = {"method": request.method, "path": request.raw_path, "headers": headers, "body": body.decode("latin-1")}
    return web.json_response(said, status=int(request.query.get("status", "200")), headers={"X-Own": "1"})


async def digest(request: web.Request) -> web.StreamResponse:
    """The size and SHA-256 of a body of any length."""
    found, size = hashlib.sha256(), 0
    async for chunk in request.content.iter_any():
        found.update(chunk)
        size += len(chunk)
    return web.json_response({"size": size, "sha256": found.hexdigest()})


async def big(request: web.Request) -> web.StreamResponse:
    """So many bytes."""
    left = int(request.query["size"])
    response = web.StreamResponse(headers={"Content-Length": str(left)})
    await response.prepare(request)
    while left:
        piece = _PIECE[:left]
        await response.write(piece)
        left -= len(piece)
    return response


async def events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: one, and the next when somebody has asked for `/next`."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(3):
        await response.write(f"data: {number}\n\n".encode())
        await asyncio.wait_for(request.app[_NEXT].get(), 10)
    return response


async def proceed(request: web.Request) -> web.StreamResponse:
    """Let the next event come."""
    request.app[_NEXT].put_nowait(None)
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """The beginning of an answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000000"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return response


async def echo(request: web.Request) -> web.StreamResponse:
    """A WebSocket that says what it is told; `close 4001` closes it so; the protocol `v2` is spoken."""
    ws = web.WebSocketResponse(protocols=["v2"])
    await ws.prepare(request)
    await ws.send_str(f"{request.raw_path} {ws.ws_protocol} {request.headers.get('Sec-WebSocket-Protocol')}")
    async for message in ws:
        if message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
        elif message.data.startswith("close "):
            await ws.close(code=int(message.data.split()[1]), message=b"as you wish")
        else:
            await ws.send_str(message.data)
    return ws


async def move(request: web.Request) -> web.StreamResponse:
    """A redirection."""
    return web.Response(status=302, headers={"Location": request.query["to"]})


_NEXT = web.AppKey("next", asyncio.Queue[None])


async def make_app() -> web.Application:
    """All of it."""
    app = web.Application(client_max_size=2**30)
    app[_NEXT] = asyncio.Queue()
    app.router.add_route("*", "/show{rest:.*}", show)
    app.router.add_route("*", "/digest", digest)
    app.router.add_get("/big", big)
    app.router.add_get("/events", events)
    app.router.add_get("/next", proceed)
    app.router.add_get("/cut", cut)
    app.router.add_get("/ws", echo)
    app.router.add_get("/move", move)
    return app


def answer_raw(listener: socket.socket) -> NoReturn:
    """One connection after another."""
    while True:
        with listener.accept()[0] as connection:
            found = hashlib.sha256()
            while data := connection.recv(2**16):
                found.update(data)
            connection.sendall(found.hexdigest().encode())


def main() -> None:
    """Listen, say where, serve."""
    host = sys.argv[1]
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    print(listener.getsockname()[1], flush=True)
    if "--daemon" in sys.argv and os.fork():
        os._exit(0)
    if "--raw" in sys.argv:
        answer_raw(listener)
    web.run_app(make_app(), sock=listener, print=None, access_log=None)


if __name__ == "__main__":
    main()
