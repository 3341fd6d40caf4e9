from __future__ import annotations

import asyncio

import pytest

from rock.wire.codec import decode
from rock.wire.errors import ErrorBody, InvalidRequest, from_body
from rocklet.tunnels.websockets import first_of
from tests.rocklet.callers import Caller


async def test_the_first_to_end_ends_the_others() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def once() -> int:
        return 7

    assert await first_of(forever(), once()) == 7
    assert ended.is_set()


@pytest.mark.parametrize("path", ["/v1/pty", "/v1/tcp/8000"])
@pytest.mark.parametrize("headers", [{}, {"Upgrade": "h2c"}], ids=["none", "another"])
async def test_what_is_no_websocket_is_told_to_become_one(caller: Caller, path: str, headers: dict[str, str]) -> None:
    async with caller.http.get(path, headers=headers) as reply:
        error = from_body(decode(ErrorBody, await reply.read()), reply.status)
    assert isinstance(error, InvalidRequest)
    assert error.details["expected"] == "websocket"


async def test_a_handshake_that_is_half_one_is_the_callers_fault(caller: Caller) -> None:
    async with caller.http.get("/v1/pty?command=true", headers={"Upgrade": "websocket"}) as reply:
        assert (reply.status, (await reply.json())["code"]) == (400, "invalid_request")
