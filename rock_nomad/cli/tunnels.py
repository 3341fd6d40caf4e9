"""Tunnels to a sandbox, as the CLI's commands use them: through the gateway, which every user can reach."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from rock._config import find_proxy
from rock._gateway import Gateway
from rock.wire.codec import encode_query
from rock.wire.errors import GatewayUnreachable
from rock.wire.tunnels import Tunnel, refusal_from_headers

__all__ = ["open_tunnel"]

_HEARTBEAT = 30.0  # seconds between pings: a gateway that is gone is noticed although nobody types
_CONNECT_TIMEOUT = 10.0  # seconds
_MESSAGE_LIMIT = 64 * 2**20  # bytes


@asynccontextmanager
async def open_tunnel(
    gateway: Gateway, tunnel: Tunnel, sandbox_id: str, *, port: int = 0, request: msgspec.Struct | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A tunnel's WebSocket.

    Raises GatewayUnreachable; whatever gateway or rocklet answer instead of opening it.
    """
    route = gateway.route
    path = tunnel.gateway_path.format(sandbox_id=quote(sandbox_id, safe=""), port=port)
    query = urlencode(encode_query(request), quote_via=quote) if request is not None else ""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            socket = await session.ws_connect(
                URL(f"{route.url}{path}?{query}".removesuffix("?"), encoded=True),
                headers=route.headers,
                heartbeat=_HEARTBEAT,
                max_msg_size=_MESSAGE_LIMIT,
                proxy=find_proxy(route.url),
                ssl=ssl.create_default_context() if route.url.startswith("https:") else True,
            )
        except aiohttp.WSServerHandshakeError as error:
            refusal = refusal_from_headers(error.headers or {}, error.status)
            said = f"{route.url} answered {error.status} and opened no WebSocket; is there an old proxy before it?"
            raise refusal or GatewayUnreachable(said) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise GatewayUnreachable(f"{route.url} cannot be reached: {error}") from error
        async with socket:
            yield socket
