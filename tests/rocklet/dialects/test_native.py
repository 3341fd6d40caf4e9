"""The native wire at the level of HTTP: ids, errors, limits, streams, connections that break."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path

import aiohttp
import pytest

from rock.wire.errors import (
    CODES,
    Canceled,
    CommandFailed,
    FileAccess,
    FileNotFound,
    InvalidRequest,
    RequestIdReused,
    SessionNotFound,
)
from rock.wire.messages import CancelRequest, DownloadRequest, UploadRequest
from rock.wire.operations import CANCEL, DOWNLOAD, EXECUTE, GET_CLOCKS, IS_ALIVE, OPERATIONS, RUN_IN_SESSION, UPLOAD
from rocklet.engine import Engine
from tests.rocklet.callers import TOKEN, Caller

_JSON = {"Content-Type": "application/json"}


async def answer(reply: aiohttp.ClientResponse) -> tuple[int, str]:
    """Status and error code of a typed error."""
    body = await reply.json()
    assert body["code"] in CODES
    assert body["details"]["request_id"] == reply.headers["X-Request-ID"]
    return reply.status, body["code"]


def test_the_engine_has_a_method_for_every_operation_that_the_rocklet_serves() -> None:
    for operation in OPERATIONS.values():
        assert hasattr(Engine, operation.name) is (operation.served_by == "rocklet")


# ---------------------------------------------------------------------------------------------------------- access


async def test_only_is_alive_answers_without_a_token(caller: Caller) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{caller.port}") as stranger:
        async with stranger.get("/is_alive") as reply:
            assert (await reply.json())["sandbox_id"] == "s-test"
        for operation in OPERATIONS.values():
            if operation.served_by == "rocklet" and operation is not IS_ALIVE:
                async with stranger.request(operation.method, operation.path) as reply:
                    assert await answer(reply) == (401, "unauthorized")
        async with stranger.get("/nowhere") as reply:
            assert await answer(reply) == (401, "unauthorized")


@pytest.mark.parametrize("shown", ["Bearer wrong", "Bearer ", "Basic " + TOKEN, TOKEN, "Bearer \xff"])
async def test_a_wrong_token_is_refused(caller: Caller, shown: str) -> None:
    async with caller.http.get("/v1/clocks", headers={"Authorization": shown}) as reply:
        assert await answer(reply) == (401, "unauthorized")


async def test_an_unknown_path_is_404_and_a_wrong_method_405(caller: Caller) -> None:
    async with caller.http.get("/v1/nowhere") as reply:
        assert await answer(reply) == (404, "route_not_found")
    async with caller.http.delete("/v1/execute") as reply:
        assert await answer(reply) == (405, "route_not_found")
        assert (await reply.json())["details"]["allow"] == ["POST"]
    async with caller.http.options("/v1/execute", headers={"Origin": "http://evil"}) as reply:
        assert (await answer(reply))[0] == 405
        assert not [name for name in reply.headers if name.startswith("Access-Control")]


# ---------------------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "body"),
        (b"[]", "$"),
        (b'{"command": 1}', "command"),
        (b'{"comand": "x"}', "comand"),
        (b'{"command": "x", "timeout": -1}', "timeout"),
        (b'{"command": "x", "env": {"A-B": "1"}}', "env"),
        (b'{"command": ["x"], "cwd": "relative"}', "cwd"),
        (b'{"command": []}', "command"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
    ],
)
async def test_a_bad_body_is_a_typed_error_that_names_the_field(caller: Caller, body: bytes, named: str) -> None:
    async with caller.http.post("/v1/execute", data=body, headers=_JSON) as reply:
        assert await answer(reply) == (400, "invalid_request")
        assert named in (await reply.json())["message"]


# ----------------------------------------------------------------------------------------------------- request ids


async def test_every_reply_carries_the_request_id_or_a_new_one(caller: Caller) -> None:
    async with caller.http.get("/is_alive", headers={"X-Request-ID": "mine"}) as reply:
        assert reply.headers["X-Request-ID"] == "mine"
    async with caller.http.get("/is_alive") as reply:
        assert len(reply.headers["X-Request-ID"]) == 32
    async with caller.http.get("/v1/clocks", headers={"X-Request-ID": "not good"}) as reply:
        assert await answer(reply) == (400, "invalid_request")


async def test_a_request_whose_connection_was_cut_runs_once_and_is_replayed(caller: Caller, tmp_path: Path) -> None:
    counter, fifo = tmp_path / "counter", tmp_path / "fifo"
    os.mkfifo(fifo)
    body = json.dumps({"command": f"echo run >>{counter}; echo begun >{fifo}; cat {fifo}; echo done"}).encode()
    head = (
        f"POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nX-Request-ID: once\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", caller.port)
    writer.write(head.encode() + body)
    await asyncio.to_thread(fifo.read_text)
    writer.transport.abort()

    async def send_again() -> str:
        async with caller.http.post("/v1/execute", data=body, headers={**_JSON, "X-Request-ID": "once"}) as reply:
            return str((await reply.json())["stdout"])

    joined = asyncio.ensure_future(send_again())
    await caller.call(GET_CLOCKS)
    await asyncio.to_thread(fifo.write_text, "go\n")
    assert await joined == await send_again() == "go\ndone\n"
    assert counter.read_text() == "run\n"


async def test_an_error_is_replayed_as_it_was(caller: Caller) -> None:
    for _ in range(2):
        with pytest.raises(SessionNotFound):
            await caller.run("true", request_id="again")


async def test_the_same_id_with_another_body_or_operation_is_refused(bash: Caller) -> None:
    await bash.execute("true", request_id="one")
    with pytest.raises(RequestIdReused):
        await bash.execute("false", request_id="one")
    with pytest.raises(RequestIdReused):
        await bash.run("true", request_id="one")


async def test_a_caller_without_an_id_that_goes_away_ends_its_command(bash: Caller, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = asyncio.ensure_future(bash.run(f"echo begun >{fifo}; sleep 300 & pid=$!; sleep 300; echo unreached"))
    await asyncio.to_thread(fifo.read_text)
    running.cancel()
    async with asyncio.timeout(60):
        after = await bash.run("kill -0 $pid && kill $pid && echo the background lives")
    assert "the background lives\n" in after.output


async def test_a_queued_command_whose_caller_goes_away_never_runs(bash: Caller, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = asyncio.ensure_future(bash.run(f"cat {fifo}"))
    queued = asyncio.ensure_future(bash.run(f"touch {tmp_path}/ran"))
    while (await bash.call(GET_CLOCKS)).actions_in_flight < 2:
        pass
    queued.cancel()
    while (await bash.call(GET_CLOCKS)).actions_in_flight > 1:
        pass
    await asyncio.to_thread(fifo.write_text, "go\n")
    assert (await running).output == "go\n"
    await bash.run("true")
    assert not (tmp_path / "ran").exists()


async def test_a_cancel_ends_a_command_and_its_caller_hears_it(bash: Caller, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    stubborn = f"echo partial; (trap '' INT; echo >{fifo}; while :; do sleep 300; done)"
    running = asyncio.ensure_future(bash.run(stubborn, request_id="r1"))
    await asyncio.to_thread(fifo.read_text)
    async with asyncio.timeout(60):
        assert (await bash.call(CANCEL, CancelRequest(request_id="r1"))).canceled
        done = await running
    assert (done.canceled, done.exit_code) == (True, None)
    assert done.output.startswith("partial\n")
    assert (await bash.run("echo ok")).output == "ok\n"


async def test_a_cancel_reaches_a_command_that_waits_for_its_turn(bash: Caller, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    running = asyncio.ensure_future(bash.run(f"cat {fifo}"))
    queued = asyncio.ensure_future(bash.run("echo never", request_id="q1"))
    while (await bash.call(GET_CLOCKS)).actions_in_flight < 2:
        pass
    assert (await bash.call(CANCEL, CancelRequest(request_id="q1"))).canceled
    assert (await queued).failure_reason == "canceled before it started; nothing was run"
    await asyncio.to_thread(fifo.write_text, "go\n")
    assert (await running).output == "go\n"


async def test_a_cancel_that_comes_first_keeps_the_request_from_running(caller: Caller, tmp_path: Path) -> None:
    assert not (await caller.call(CANCEL, CancelRequest(request_id="early"))).canceled
    with pytest.raises(Canceled):
        await caller.execute(f"touch {tmp_path}/ran", request_id="early")
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------------------------------------------- streams


async def upload(caller: Caller, request: UploadRequest, data: bytes) -> dict[str, object]:
    params = {"path": request.path}
    if request.sha256 is not None:
        params["sha256"] = request.sha256
    async with caller.http.put(UPLOAD.path, params=params, data=data) as reply:
        found: dict[str, object] = await reply.json()
        return found


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_bytes_go_up_and_come_down_unchanged(caller: Caller, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    digest = hashlib.sha256(data).hexdigest()
    path = str(tmp_path / "new" / "parents" / "file.bin")
    facts = await upload(caller, UploadRequest(path=path, sha256=digest), data)
    assert facts == {"path": path, "size": size, "sha256": digest}
    async with caller.http.get(DOWNLOAD.path, params={"path": path}) as reply:
        assert await reply.read() == data
        assert reply.headers["X-Content-SHA256"] == digest
        assert reply.headers["Content-Length"] == str(size)
        assert reply.headers["X-Request-ID"]


async def test_a_part_of_a_file_comes_down_with_its_own_digest(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    params = {"path": str(tmp_path / "f"), "offset": "3", "length": "4"}
    async with caller.http.get(DOWNLOAD.path, params=params) as reply:
        assert await reply.read() == b"3456"
        assert reply.headers["X-Content-SHA256"] == hashlib.sha256(b"3456").hexdigest()
    async with caller.http.get(DOWNLOAD.path, params={**params, "offset": "99", "sha256": "false"}) as reply:
        assert await reply.read() == b""
        assert "X-Content-SHA256" not in reply.headers


async def test_an_upload_that_breaks_off_leaves_nothing(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    _, writer = await asyncio.open_connection("127.0.0.1", caller.port)
    head = f"PUT /v1/files?path={tmp_path}/f HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(f"{head}Content-Length: 1000000\r\n\r\n".encode() + b"x" * 100_000)
    await writer.drain()
    while len(list(tmp_path.iterdir())) < 3:  # home, f and what is being written
        await caller.call(GET_CLOCKS)
    writer.transport.abort()
    while len(list(tmp_path.iterdir())) > 2:
        await caller.call(GET_CLOCKS)
    assert (tmp_path / "f").read_text() == "old"


async def test_a_wrong_digest_replaces_nothing(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    found = await upload(caller, UploadRequest(path=str(tmp_path / "f"), sha256="0" * 64), b"new")
    assert found["code"] == InvalidRequest.error
    assert (tmp_path / "f").read_text() == "old"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/nonono", FileNotFound),
        ("/", FileAccess),
        ("/dev/zero", FileAccess),
        ("relative", InvalidRequest),
        ("/" + "n" * 300, FileAccess),
        ("/etc/passwd/x", FileAccess),
    ],
)
async def test_a_path_that_cannot_be_read_is_a_typed_error(caller: Caller, path: str, error: type[Exception]) -> None:
    async with caller.http.get(DOWNLOAD.path, params={"path": path}) as reply:
        assert CODES[(await answer(reply))[1]] is error


async def test_a_query_with_an_unknown_or_doubled_field_is_a_typed_error(caller: Caller) -> None:
    for query in ("path=/x&pth=/y", "path=/x&path=/y", "path=/x&offset=-1", "offset=1"):
        async with caller.http.get(f"{DOWNLOAD.path}?{query}") as reply:
            assert await answer(reply) == (400, "invalid_request")
    assert DownloadRequest(path="/x").sha256


async def test_a_command_that_cannot_start_is_the_commands_own_error(caller: Caller) -> None:
    with pytest.raises(CommandFailed):
        await caller.execute(["/nonono"])
    assert (EXECUTE.path, RUN_IN_SESSION.path) == ("/v1/execute", "/v1/sessions/run")
