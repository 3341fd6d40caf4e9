from __future__ import annotations

import asyncio
import gzip

import pytest

from tests.rocklet.callers import TOKEN, Caller

_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_that_a_web_page_could_send_is_refused(caller: Caller, content_type: str) -> None:
    async with caller.http.post("/v1/execute", data=b'{"command":"id"}', headers={"Content-Type": content_type}) as r:
        assert (r.status, (await r.json())["code"]) == (400, "invalid_request")


async def test_a_compressed_body_is_understood_and_a_broken_one_is_a_typed_error(caller: Caller) -> None:
    headers = {**_JSON, "Content-Encoding": "gzip"}
    async with caller.http.post("/v1/execute", data=gzip.compress(b'{"command":"echo z"}'), headers=headers) as reply:
        assert (await reply.json())["stdout"] == "z\n"
    async with caller.http.post("/v1/execute", data=b"no gzip", headers=headers) as reply:
        assert reply.status == 400


async def test_an_oversized_body_is_refused_before_it_is_read(caller: Caller) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", caller.port)
    writer.write(
        f"POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {200 * 2**20}\r\n\r\n".encode()
    )
    async with asyncio.timeout(60):
        assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_expect_100_continue_is_answered_before_the_body(caller: Caller) -> None:
    async with caller.http.post("/v1/execute", data=b'{"command":"echo c"}', headers=_JSON, expect100=True) as reply:
        assert (await reply.json())["stdout"] == "c\n"
