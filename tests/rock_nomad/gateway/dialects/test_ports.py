from __future__ import annotations

import asyncio
import hashlib
import io
import os
import socket

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from multidict import CIMultiDict

from rock_nomad.gateway.dialects.ports import BadPort, choose_port
from tests.gateways import Gateway, serve_in

ROOTS = ["/apis/envs/sandbox/v1", ""]
HEADERS = {"Authorization": "Bearer key-a"}


@pytest.mark.parametrize(
    ("path", "headers", "query", "chosen"),
    [
        ("", {}, {}, (8080, "", "")),
        ("a/b%2Fc", {}, {}, (8080, "a/b%2Fc", "")),
        ("port/9000/a//b", {}, {}, (9000, "a//b", "/port/9000")),
        ("port/9000", {}, {}, (9000, "", "/port/9000")),
        ("port/nine/a", {}, {}, (8080, "port/nine/a", "")),
        ("a", {"x-rock-target-port": "9000"}, {}, (9000, "a", "")),
        ("a", {}, {"rock_target_port": "9000"}, (9000, "a", "")),
    ],
)
def test_a_port_is_named_by_path_header_or_query(
    path: str, headers: dict[str, str], query: dict[str, str], chosen: tuple[int, str, str]
) -> None:
    assert choose_port(path, CIMultiDict(headers), query) == chosen


@pytest.mark.parametrize(
    ("path", "query", "text"),
    [
        ("port/22/", {}, "Port 22 is below minimum allowed port 1024"),
        ("port/65536/", {}, "Port 65536 is above maximum allowed port 65535"),
        ("", {"rock_target_port": "http"}, "Port http is not allowed for port forwarding"),
        (
            "port/9000/",
            {"rock_target_port": "9000"},
            "Cannot specify target port via multiple sources: path, query parameter rock_target_port",
        ),
    ],
)
def test_a_wrong_port_is_refused_in_rocks_words(path: str, query: dict[str, str], text: str) -> None:
    with pytest.raises(BadPort) as caught:
        choose_port(path, CIMultiDict(), query)
    assert str(caught.value) == text


@pytest.fixture
async def served(embedded_gateway: Gateway) -> tuple[Gateway, str, int]:
    """A gateway, a sandbox, and the port of a server in it."""
    created = await embedded_gateway.create(memory_bytes=512 * 2**20)
    return embedded_gateway, created.sandbox_id, await serve_in(embedded_gateway, created.sandbox_id)


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
async def test_http_passes_by_every_way_to_name_a_port(served: tuple[Gateway, str, int], root: str) -> None:
    gateway, sandbox_id, port = served
    proxy = f"{gateway.url}{root}/sandboxes/{sandbox_id}/proxy"
    for url, headers in (
        (f"{proxy}/port/{port}/show/x?a=1", {}),
        (f"{proxy}/show/x?a=1", {"X-ROCK-Target-Port": str(port)}),
        (f"{proxy}/show/x?rock_target_port={port}", {}),
    ):
        async with gateway.session.post(url, data=b"abc", headers={**HEADERS, **headers}) as reply:
            said = await reply.json()
            assert (reply.status, said["method"], said["body"]) == (200, "POST", "abc")
            assert said["path"] == "/show/x?" + url.rpartition("?")[2]
    async with gateway.session.get(f"{proxy}/port/{port}/move?to=/show", headers=HEADERS) as reply:
        assert (reply.status, (await reply.json())["path"]) == (200, "/show")
    async with gateway.session.get(f"{proxy}/port/22/", headers=HEADERS) as reply:
        assert (reply.status, await reply.json()) == (400, {"detail": "Port 22 is below minimum allowed port 1024"})


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
async def test_streams_pass_both_ways_as_they_come(served: tuple[Gateway, str, int], root: str) -> None:
    gateway, sandbox_id, port = served
    proxy = f"{gateway.url}{root}/sandboxes/{sandbox_id}/proxy/port/{port}"
    async with gateway.session.get(f"{proxy}/events", headers=HEADERS) as reply:
        for number in range(3):
            assert await asyncio.wait_for(reply.content.readline(), 5) == f"data: {number}\n".encode()
            assert await reply.content.readline() == b"\n"
            async with gateway.session.get(f"{proxy}/next", headers=HEADERS):
                pass
    data = os.urandom(3 * 2**20)
    async with gateway.session.post(f"{proxy}/digest", data=io.BytesIO(data), headers=HEADERS, chunked=True) as reply:
        assert await reply.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    size, found = 20 * 10**6, 0
    async with gateway.session.get(f"{proxy}/big?size={size}", headers=HEADERS) as reply:
        async for chunk in reply.content.iter_any():
            found += len(chunk)
    assert found == size


@pytest.mark.slow
async def test_an_authorization_of_the_servers_own_reaches_it(served: tuple[Gateway, str, int]) -> None:
    gateway, sandbox_id, port = served
    url = f"{gateway.url}/sandboxes/{sandbox_id}/proxy/port/{port}/show"
    sent = {"X-API-Key": gateway.key, "Authorization": "Bearer of the server"}
    async with gateway.session.get(url, headers=sent) as reply:
        assert (await reply.json())["headers"]["authorization"] == "Bearer of the server"


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
async def test_a_port_of_another_sandbox_is_refused_and_one_without_a_server_is_no_success(
    served: tuple[Gateway, str, int], root: str
) -> None:
    gateway, sandbox_id, port = served
    other = await gateway.create(memory_bytes=512 * 2**20)
    url = f"{gateway.url}{root}/sandboxes/{other.sandbox_id}/proxy/port/{port}/show"
    async with gateway.session.get(url, headers=HEADERS) as reply:
        refusal = {"detail": f"Port {port} is not allowed for port forwarding"}
        assert (reply.status, await reply.json()) == (400, refusal)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        dead = unheard.getsockname()[1]
        url = f"{gateway.url}{root}/sandboxes/{sandbox_id}/proxy/port/{dead}/show"
        async with gateway.session.get(url, headers=HEADERS) as reply:
            assert (reply.status, f"port {dead}" in (await reply.json())["detail"]) == (502, True)


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
async def test_a_websocket_passes_with_its_query_and_protocols(served: tuple[Gateway, str, int], root: str) -> None:
    gateway, sandbox_id, port = served
    url = f"{gateway.url}{root}/sandboxes/{sandbox_id}/proxy/port/{port}/ws?a=1"
    async with gateway.session.ws_connect(url, protocols=["v2"], headers=HEADERS) as ws:
        assert (ws.protocol, await ws.receive_str()) == ("v2", "/ws?a=1 v2 v2")
    async with gateway.session.ws_connect(url, headers=HEADERS) as ws:
        assert (ws.protocol, await ws.receive_str()) == (None, "/ws?a=1 None binary,base64")


@pytest.mark.slow
@pytest.mark.parametrize("root", ROOTS)
async def test_tcp_passes_in_binary_frames(served: tuple[Gateway, str, int], root: str) -> None:
    gateway, sandbox_id, port = served
    url = f"{gateway.url}{root}/sandboxes/{sandbox_id}/portforward?port={port}"
    async with gateway.session.ws_connect(url, headers=HEADERS) as ws:
        await ws.send_bytes(b"GET /show HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"".join([message.data async for message in ws]).startswith(b"HTTP/1.1 200 OK\r\n")


async def _farewell(ws: ClientWebSocketResponse) -> tuple[int, str]:
    message = await ws.receive()
    assert message.type is WSMsgType.CLOSE
    return message.data, message.extra or ""


@pytest.mark.slow
async def test_a_websocket_that_leads_nowhere_opens_and_closes_with_rocks_code_and_words(
    served: tuple[Gateway, str, int],
) -> None:
    gateway, sandbox_id, _ = served
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        host, dead = listener.getsockname()[1], unheard.getsockname()[1]
        for name, port, code, text in (
            (sandbox_id, "22", 1008, "Port 22 is below minimum allowed port 1024"),
            (sandbox_id, "70000", 1008, "Port 70000 is above maximum allowed port 65535"),
            (sandbox_id, host, 1008, f"Port {host} is not allowed for port forwarding"),
            (sandbox_id, dead, 1011, f"Failed to connect to port {dead}: [Errno 111] Connect call failed"),
            ("unknown", "9000", 1011, "Proxy error: sandbox unknown not started"),
        ):
            for way in (f"portforward?port={port}", f"proxy/ws?rock_target_port={port}"):
                url = f"{gateway.url}/sandboxes/{name}/{way}"
                async with gateway.session.ws_connect(url, headers=HEADERS) as ws:
                    assert await _farewell(ws) == (code, text)
