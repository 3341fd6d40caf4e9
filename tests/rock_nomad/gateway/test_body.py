import asyncio

from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from rock_nomad.gateway.body import ReplayableBody, WholeBody, take_body


def _content(*chunks: bytes) -> StreamReader:
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), limit=2**16, loop=loop)
    for chunk in chunks:
        content.feed_data(chunk)
    content.feed_eof()
    return content


async def _all(body: ReplayableBody) -> bytes:
    return b"".join([chunk async for chunk in body.content()])


async def test_a_short_body_can_be_sent_again() -> None:
    body = ReplayableBody(_content(b"abc", b"def"))
    assert await _all(body) == b"abcdef"
    assert body.can_be_sent_again
    assert await _all(body) == b"abcdef"


async def test_a_body_that_was_sent_in_part_is_sent_whole_the_second_time() -> None:
    content = _content(b"abc")
    content._eof = False  # the client has not sent the rest yet
    body = ReplayableBody(content)
    assert await anext(body.content()) == b"abc"
    content.feed_data(b"def")
    content.feed_eof()
    assert await _all(body) == b"abcdef"


async def test_of_a_long_body_nothing_is_kept() -> None:
    body = ReplayableBody(_content(b"abcdef"), kept_bytes=5)
    assert await _all(body) == b"abcdef"
    assert not body.can_be_sent_again
    assert body._kept == []


async def test_a_body_of_just_the_size_that_is_kept_can_be_sent_again() -> None:
    body = ReplayableBody(_content(b"abcdef"), kept_bytes=6)
    await _all(body)
    assert body.can_be_sent_again


def test_a_body_that_is_there_can_be_sent_any_number_of_times() -> None:
    body = WholeBody(b"abc")
    for _ in range(2):
        assert body.can_be_sent_again
        assert body.content() == b"abc"


def _request(payload: StreamReader, **headers: str) -> web.Request:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("POST", "/", headers=sent, payload=payload)


async def test_a_short_body_goes_on_whole_and_others_as_they_come() -> None:
    short = await take_body(_request(_content(b"abc"), Content_Length="3"))
    assert isinstance(short, WholeBody)
    assert short.content() == b"abc"
    for headers in ({"Content_Length": "100000"}, {"Transfer_Encoding": "chunked"}):
        assert isinstance(await take_body(_request(_content(b"abc"), **headers)), ReplayableBody)


async def test_no_body_is_none() -> None:
    assert await take_body(_request(_content())) is None
