from __future__ import annotations

import asyncio
import json

import pytest
from yarl import URL

from tests.gateways import Gateway
from tests.malformed import MALFORMED, read_answer


@pytest.mark.parametrize("sent", MALFORMED)
async def test_what_is_no_http_is_answered_as_everything_else_is(embedded_gateway: Gateway, sent: bytes) -> None:
    address = URL(embedded_gateway.url)
    status, headers, body = await read_answer(str(address.host), address.port or 0, sent)
    said = json.loads(body)
    assert (status, said["code"], headers["content-type"].split(";")[0]) == (400, "invalid_request", "application/json")
    assert said["details"]["request_id"] == headers["x-request-id"]
    assert "send it again as HTTP/1.1" in said["message"]


async def test_the_gateway_answers_others_meanwhile_and_after(embedded_gateway: Gateway) -> None:
    address = URL(embedded_gateway.url)
    host, port = str(address.host), address.port or 0
    async with asyncio.TaskGroup() as tasks:
        for sent in MALFORMED * 10:
            tasks.create_task(read_answer(host, port, sent))
    async with embedded_gateway.session.get(f"{embedded_gateway.url}/health") as reply:
        assert reply.status == 200
