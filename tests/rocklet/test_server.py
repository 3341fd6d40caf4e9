"""Listening, and the end of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import msgspec
import pytest

from rock.wire.messages import CreateSessionRequest, RockletExit
from rock.wire.operations import CLOSE_ROCKLET, CREATE_SESSION
from rocklet.config import Settings
from rocklet.server import listen
from tests.malformed import MALFORMED, read_answer
from tests.rocklet.callers import TOKEN, Caller


async def test_a_taken_port_is_an_error_before_anything_starts(settings: Settings) -> None:
    async with listen(settings) as listening:
        taken = msgspec.structs.replace(settings, port=listening.port)
        with pytest.raises(OSError, match="in use"):
            async with listen(taken):
                pass


async def test_an_ipv6_address_can_be_listened_on(settings: Settings) -> None:
    try:
        async with (
            listen(msgspec.structs.replace(settings, host="::1")) as listening,
            aiohttp.ClientSession() as http,
            http.get(f"http://[::1]:{listening.port}/is_alive") as reply,
        ):
            assert reply.status == 200
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize("sent", MALFORMED)
async def test_what_is_no_http_is_answered_as_everything_else_is(caller: Caller, sent: bytes) -> None:
    status, headers, body = await read_answer("127.0.0.1", caller.port, sent)
    said = json.loads(body)
    assert (status, said["code"], said["details"]["request_id"]) == (400, "invalid_request", headers["x-request-id"])


async def test_whoever_waits_hears_why_it_is_to_end(settings: Settings) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        listen(settings) as listening,
        aiohttp.ClientSession(f"http://127.0.0.1:{listening.port}", headers=headers) as http,
    ):
        await Caller(http, listening).call(CLOSE_ROCKLET)
        assert await listening.wait_ended() is RockletExit.CLOSED


async def test_the_end_is_quick_and_leaves_no_shell_whatever_runs(settings: Settings) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with listen(settings) as listening:
        http = aiohttp.ClientSession(f"http://127.0.0.1:{listening.port}", headers=headers)
        caller = Caller(http, listening)
        session = await caller.call(CREATE_SESSION)
        running = asyncio.ensure_future(caller.run("sleep 300"))
        await caller.call(CREATE_SESSION, CreateSessionRequest(session="other"))
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 3
    with pytest.raises(aiohttp.ServerDisconnectedError):  # so that whoever asked asks Nomad why
        await running
    await http.close()
    assert not Path(f"/proc/{session.pid}").exists()
