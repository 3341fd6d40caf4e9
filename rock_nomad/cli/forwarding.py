"""`port-forward`: a port of this machine that leads to one in a sandbox."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

import typer
from aiohttp import ClientWebSocketResponse, WSMsgType

from rock._gateway import Gateway
from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.errors import InvalidRequest, RockException
from rock.wire.tunnels import CONNECT_PORT
from rock_nomad.cli.options import SandboxArgument, connect
from rock_nomad.cli.output import out, say
from rock_nomad.cli.tunnels import open_tunnel

__all__ = ["COMMANDS", "parse_ports"]

_HOST = "127.0.0.1"
_CHUNK = 2**16  # bytes
_PORTS = re.compile(r"(?:(?P<local>\d{1,5})?:)?(?P<remote>\d{1,5})", re.ASCII)


async def port_forward(
    sandbox: SandboxArgument,
    ports: Annotated[str, typer.Argument(metavar="LOCAL:REMOTE", help="`:REMOTE` takes any free local port.")],
) -> None:
    """Lead a port of this machine's loopback to a port in a sandbox, until Ctrl-C."""
    local, remote = parse_ports(ports)
    gateway = connect()
    await gateway.call(op.GET_SANDBOX, m.GetSandboxRequest(), sandbox_id=sandbox)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _lead(gateway, sandbox, remote, reader, writer)
        except RockException as error:
            say(f"error: {error.message}")
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, _HOST, local, limit=_CHUNK)
    except OSError as error:
        raise InvalidRequest(f"{_HOST}:{local} cannot be listened on: {error.strerror}; name another port") from error
    async with server:
        taken = server.sockets[0].getsockname()[1]
        out.print(f"{_HOST}:{taken} leads to port {remote} of sandbox {sandbox}; Ctrl-C ends it", markup=False)
        await server.serve_forever()


def parse_ports(text: str) -> tuple[int, int]:
    """The local and the remote port of `LOCAL:REMOTE`; `REMOTE` alone is both, and `:REMOTE` leaves the local one open.

    Raises InvalidRequest.
    """
    found = _PORTS.fullmatch(text)
    if found is not None:
        remote = int(found["remote"])
        local = int(found["local"] or 0) if ":" in text else remote
        if 0 < remote <= 65535 and local <= 65535:
            return local, remote
    raise InvalidRequest(f"the ports are {text!r}; write LOCAL:REMOTE, such as 8080:8000")


async def _lead(
    gateway: Gateway, sandbox: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    async with open_tunnel(gateway, CONNECT_PORT, sandbox, port=port) as tunnel, asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(_send(reader, tunnel))
        await _receive(tunnel, writer)
        sending.cancel()


async def _send(reader: asyncio.StreamReader, tunnel: ClientWebSocketResponse) -> None:
    try:
        while data := await reader.read(_CHUNK):
            await tunnel.send_bytes(data)
        await tunnel.send_str("")  # all is sent; the answer may be still to come
    except ConnectionError:
        await tunnel.close()


async def _receive(tunnel: ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    try:
        async for message in tunnel:
            if message.type is WSMsgType.BINARY:
                writer.write(message.data)
                await writer.drain()
    except ConnectionError:
        await tunnel.close()


COMMANDS = (port_forward,)
