import io
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rock.wire.errors import IdInUse
from rock_nomad.gateway.auth import ApiKeys, OpenDoor
from rock_nomad.gateway.calls import current_caller
from rock_nomad.gateway.dialects.native import Native
from rock_nomad.gateway.middleware import MAX_BODY, OPEN_PATHS
from rock_nomad.gateway.server import create_server

Client = TestClient[web.Request, web.Application]


async def _echo(request: web.Request) -> web.Response:
    return web.json_response({"size": len(await request.read()), "tenant": current_caller.get().tenant})


async def _nothing(request: web.Request) -> web.Response:
    return web.Response()


async def _clash(request: web.Request) -> web.Response:
    raise IdInUse("sandbox x exists", details={"field": "sandbox_id"})


async def _fault(request: web.Request) -> web.Response:
    raise ZeroDivisionError("secret words")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = create_server([Native()], OpenDoor(), is_open=True)
    app.router.add_post("/echo", _echo)
    app.router.add_get("/clash", _clash)
    app.router.add_get("/fault", _fault)
    async with TestClient(TestServer(app)) as client:
        yield client


async def _error(client: Client, method: str, path: str, **kwargs: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401 - aiohttp's keywords
    async with client.request(method, path, **kwargs) as reply:
        body = json.loads(await reply.read())
        assert body["details"]["request_id"] == reply.headers["X-Request-ID"]
        return reply.status, body


async def test_every_reply_names_its_request(client: Client) -> None:
    async with client.post("/echo", headers={"X-Request-ID": "mine"}) as reply:
        assert reply.headers["X-Request-ID"] == "mine"
    async with client.post("/echo") as reply:
        assert len(reply.headers["X-Request-ID"]) == 32


async def test_an_id_that_cannot_be_kept_is_a_typed_error(client: Client) -> None:
    status, body = await _error(client, "POST", "/echo", headers={"X-Request-ID": "two words"})
    assert (status, body["code"], body["details"]["field"]) == (400, "invalid_request", "X-Request-ID")


async def test_a_typed_error_keeps_its_status_and_details(client: Client) -> None:
    status, body = await _error(client, "GET", "/clash")
    assert (status, body["code"], body["details"]["field"]) == (409, "id_in_use", "sandbox_id")


async def test_an_unknown_path_is_typed(client: Client) -> None:
    status, body = await _error(client, "GET", "/nowhere")
    assert (status, body["code"]) == (404, "route_not_found")


async def test_a_method_that_a_path_lacks_is_typed_and_names_those_it_has(client: Client) -> None:
    status, body = await _error(client, "PUT", "/echo")
    assert (status, body["code"], body["details"]["expected"]) == (405, "route_not_found", "POST")


async def test_a_fault_of_ours_shows_no_traceback_but_is_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    status, body = await _error(client, "GET", "/fault")
    assert (status, body["code"]) == (500, "internal")
    assert "secret words" not in json.dumps(body)
    assert any(record.exc_info for record in caplog.records)


async def test_a_body_beyond_the_limit_is_refused_with_the_limit(client: Client) -> None:
    status, body = await _error(client, "POST", "/echo", data=io.BytesIO(bytes(MAX_BODY + 1)))
    assert (status, body["code"], body["details"]["limit"]) == (413, "too_large", MAX_BODY)


async def test_a_request_has_one_line_in_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "rock_nomad.gateway.middleware"):
        async with client.post("/echo") as reply:
            assert reply.status == 200
    assert [record.message.split(" in ")[0] for record in caplog.records] == ["POST /echo 200"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "10.0.0.1:8080"},
    ],
)
async def test_an_open_gateway_refuses_what_a_web_page_can_send(client: Client, headers: dict[str, str]) -> None:
    status, body = await _error(client, "POST", "/echo", headers=headers)
    assert (status, body["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"])
async def test_an_open_gateway_serves_this_machine_by_any_of_its_names(client: Client, host: str) -> None:
    async with client.post("/echo", headers={"Host": host}) as reply:
        assert reply.status == 200


async def test_a_path_with_repeated_slashes_is_the_one_without(client: Client) -> None:
    url = client.make_url("/").with_path("//echo").with_query({"a": "//"})
    async with client.session.post(url, data=b"abc") as reply:
        assert (reply.status, (await reply.json())["size"]) == (200, 3)


async def test_an_open_path_needs_no_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: []")
    app = create_server([Native()], ApiKeys(keys), is_open=False)
    for path in (*OPEN_PATHS, "/other"):
        app.router.add_get(path, _nothing)
    async with TestClient(TestServer(app)) as client:
        for path, status in (*((path, 200) for path in OPEN_PATHS), ("/other", 401)):
            async with client.get(path) as reply:
                assert reply.status == status
