from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path

import aiohttp
import msgspec
import pytest

from rocklet.config import Settings
from rocklet.server import listen
from tests.rocklet.callers import TOKEN
from tests.rocklet.dialects.swerex.conftest import Swerex


@pytest.mark.parametrize("path", ["/swerex/", "/swerex//create_session", "/swerex/nothing"])
async def test_without_a_key_nothing_is_told(swerex: Swerex, path: str) -> None:
    async with aiohttp.ClientSession(swerex.http._base_url) as stranger:
        async with stranger.get(path) as reply:
            assert (reply.status, await reply.json()) == (403, {"detail": "Not authenticated"})
        async with stranger.get(path, headers={"X-API-Key": "wrong"}) as reply:
            assert (reply.status, await reply.json()) == (401, {"detail": "Invalid API Key"})


async def test_what_stands_at_the_root(swerex: Swerex) -> None:
    for path, said in (("", {"message": "hello world"}), ("is_alive", {"is_alive": True, "message": ""})):
        async with swerex.http.get(f"/swerex/{path}") as reply:
            assert (reply.status, await reply.json()) == (200, said)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "execute", 405), ("POST", "nothing", 404)])
async def test_routes_that_are_not_there(swerex: Swerex, method: str, path: str, status: int) -> None:
    async with swerex.http.request(method, f"/swerex/{path}") as reply:
        assert reply.status == status
        assert "detail" in await reply.json()


@pytest.mark.parametrize("body", ["{", "[]", '{"command": 7}', "{}"])
async def test_a_request_that_does_not_fit_is_told_where(swerex: Swerex, body: str) -> None:
    async with swerex.http.post("/swerex/execute", data=body, headers={"Content-Type": "application/json"}) as reply:
        assert reply.status == 422
        (fault,) = (await reply.json())["detail"]
        assert fault["loc"][0] == "body"
        assert fault["msg"]


async def test_the_dialect_can_stand_at_the_root(settings: Settings) -> None:
    async with (
        listen(msgspec.structs.replace(settings, dialect="swerex")) as listening,
        aiohttp.ClientSession(f"http://127.0.0.1:{listening.port}", headers={"X-API-Key": TOKEN}) as http,
        http.post("/execute", json={"command": ["echo", "root"]}) as reply,
    ):
        assert (await reply.json())["stdout"] == "root\n"


async def test_a_call_sent_again_runs_once_whatever_other_clients_send(bash: Swerex, tmp_path: Path) -> None:
    count = f"echo x >> {tmp_path}/count; wc -l < {tmp_path}/count"

    async def send(request_id: str) -> str:
        reply = await bash.call("run_in_session", request_id=request_id, action_type="bash", command=count)
        return str(reply["output"])

    first, second = await asyncio.gather(send("one"), send("two"))
    assert sorted((first, second)) == ["1\n", "2\n"]
    assert (await send("one"), await send("two")) == (first, second)


async def test_a_file_is_uploaded_as_it_is(swerex: Swerex, tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    status, body = await swerex.upload(data, target_path=str(tmp_path / "new/file"), unzip="false")
    assert (status, body) == (200, {})
    assert (tmp_path / "new/file").read_bytes() == data


async def test_a_folder_is_uploaded_as_a_zip(swerex: Swerex, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a/b", "text")
    assert await swerex.upload(archive.getvalue(), target_path=str(tmp_path / "new"), unzip="true") == (200, {})
    assert (tmp_path / "new/a/b").read_text() == "text"


@pytest.mark.parametrize(
    ("fields", "why"),
    [({}, "target_path"), ({"target_path": "x" * 5000}, "4096"), ({"target_path": "/x", "unzip": "true"}, "zip")],
)
async def test_an_upload_that_cannot_be_is_refused(swerex: Swerex, fields: dict[str, str], why: str) -> None:
    status, body = await swerex.upload(b"no zip", **fields)
    assert status == 422
    assert why in body["detail"][0]["msg"]


async def test_an_upload_that_is_no_form_is_refused(swerex: Swerex) -> None:
    for kind in ("application/json", "multipart/form-data"):
        async with swerex.http.post("/swerex/upload", data=b"x", headers={"Content-Type": kind}) as reply:
            assert reply.status == 422
