"""The few things that the gateway itself asks of rocklets."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiohttp import AddrInfoType

from rock.wire.codec import decode, encode
from rock.wire.errors import InvalidRequest
from rock.wire.messages import CancelRequest, Clocks, RockletEndpoint
from rock.wire.operations import CANCEL, GET_CLOCKS, RENEW_IDLE, REQUEST_ID_HEADER, Operation

__all__ = ["CONNECT_TIMEOUT", "RockletUnreachable", "Rocklets", "StaleAddress", "open_session"]

CONNECT_TIMEOUT = 2.0  # seconds; inside the operator's network
PROBE_PAUSE_FIRST, PROBE_PAUSE_LAST = 0.01, 0.1  # seconds

_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4))
"""Seconds of silence before asking, between asking, and how often: a lost node is noticed after 35 s."""

_Res = TypeVar("_Res", bound=msgspec.Struct)


class RockletUnreachable(Exception):
    """No rocklet answers at the address."""


class StaleAddress(Exception):
    """Something else answers at the address: another sandbox's rocklet, since Nomad uses ports again."""


def open_session() -> aiohttp.ClientSession:
    """A session for rocklets: as many connections as there are sandboxes, no proxy, no cookies, bytes as they are."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, socket_factory=_socket),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


def _socket(address: AddrInfoType) -> socket.socket:
    """A socket that notices when the other machine is gone: a command may be silent for hours, as a dead node is."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


class Rocklets:
    """Calls to rocklets, each answered in time by its caller's `asyncio.timeout`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def clocks(self, endpoint: RockletEndpoint, *, renew: bool = False) -> Clocks:
        """What the rocklet says of its clocks; it takes the token, so who answers is the sandbox's own.

        With `renew` its idle clock starts anew.

        Raises RockletUnreachable, StaleAddress.
        """
        clocks = await self._call(endpoint, RENEW_IDLE if renew else GET_CLOCKS)
        if clocks.sandbox_id != endpoint.sandbox_id:
            raise StaleAddress(endpoint.url)
        return clocks

    async def await_clocks(self, endpoint: RockletEndpoint) -> Clocks:
        """The clocks, as soon as the rocklet listens.

        Raises StaleAddress.
        """
        pause = PROBE_PAUSE_FIRST
        while True:
            try:
                return await self.clocks(endpoint)
            except RockletUnreachable:
                # Nothing announces the moment at which a fresh process listens (Consul's check comes seconds later),
                # so this is the one place where asking again is the way to know.
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, PROBE_PAUSE_LAST)

    async def cancel(self, endpoint: RockletEndpoint, request_id: str) -> None:
        """End an action whose caller is gone.

        Raises RockletUnreachable, StaleAddress.
        """
        await self._call(endpoint, CANCEL, CancelRequest(request_id=request_id))

    async def _call(
        self, endpoint: RockletEndpoint, operation: Operation[Any, _Res], request: msgspec.Struct | None = None
    ) -> _Res:
        headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "application/json"}
        body = encode(request) if request is not None else None
        url = endpoint.url + operation.path
        try:
            async with self._session.request(operation.method, url, data=body, headers=headers) as reply:
                said = await reply.read()
        except (aiohttp.ClientError, OSError) as error:
            raise RockletUnreachable(endpoint.url) from error
        # A rocklet names the request in whatever it answers; what does not is some other server on the same port.
        if reply.status != 200 or REQUEST_ID_HEADER not in reply.headers:
            raise StaleAddress(endpoint.url)
        try:
            return decode(operation.result, said)
        except InvalidRequest as error:
            raise StaleAddress(endpoint.url) from error
