from __future__ import annotations

import pytest
from aiohttp import web

from rock._config import GatewayAddress
from rock._gateway import Gateway
from rock.wire.errors import GatewayUnreachable, PortClosed
from rock.wire.tunnels import CONNECT_PORT, OPEN_CONSOLE, ConsoleRequest
from rock_nomad.cli.tunnels import open_tunnel
from tests.gateways import Gateway as Running


def _gateway(url: str) -> Gateway:
    return Gateway(GatewayAddress(url=url, api_key="key-a"))


async def test_a_gateway_that_does_not_listen_is_named() -> None:
    with pytest.raises(GatewayUnreachable, match="cannot be reached"):
        async with open_tunnel(_gateway("http://127.0.0.1:9"), CONNECT_PORT, "s", port=8000):
            raise AssertionError


async def test_a_server_that_is_no_gateway_is_named() -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=200, text="hello")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        with pytest.raises(GatewayUnreachable, match="opened no WebSocket"):
            async with open_tunnel(_gateway(url), CONNECT_PORT, "s", port=8000):
                raise AssertionError
    finally:
        await runner.cleanup()


@pytest.mark.slow
async def test_a_tunnel_opens_with_its_request_and_a_refusal_is_the_rocklets(embedded_gateway: Running) -> None:
    created = await embedded_gateway.create()
    gateway = _gateway(embedded_gateway.url)
    request = ConsoleRequest(command=["sh", "-c", 'echo "$1"', "sh", "a&b=c d"])
    async with open_tunnel(gateway, OPEN_CONSOLE, created.sandbox_id, request=request) as console:
        assert await console.receive_bytes() == b"a&b=c d\r\n"
    with pytest.raises(PortClosed, match="nobody listens on port 1029"):
        async with open_tunnel(gateway, CONNECT_PORT, created.sandbox_id, port=1029):
            raise AssertionError
