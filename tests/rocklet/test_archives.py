from __future__ import annotations

import asyncio
import io
from pathlib import Path

import aiohttp
import pytest

from rock.wire.archives import pack, unpack
from rock.wire.operations import UNPACK
from tests.rocklet.callers import Caller


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"a" * 2**20)
    return source


async def test_a_directory_goes_in_and_comes_out(caller: Caller, source: Path, tmp_path: Path) -> None:
    body = io.BytesIO(b"".join(pack(str(source))))
    asked = {"path": str(tmp_path / "copy"), "name": "source"}
    async with caller.http.put("/v1/archive", params=asked, data=body) as reply:
        assert (reply.status, await reply.json()) == (200, {"path": str(tmp_path / "copy")})
    async with caller.http.get("/v1/archive", params={"path": str(tmp_path / "copy")}) as reply:
        await unpack(reply.content.iter_any(), str(tmp_path / "back"))
    assert (tmp_path / "back" / "a").read_bytes() == b"a" * 2**20


async def test_a_body_that_is_no_archive_is_the_callers_fault(caller: Caller, tmp_path: Path) -> None:
    for body in (b"", b"x" * 5000):
        async with caller.http.put("/v1/archive", params={"path": str(tmp_path / "x")}, data=body) as reply:
            assert (reply.status, (await reply.json())["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("relative", 400, "invalid_request"),
        ("/nowhere/at/all", 404, "file_not_found"),
        ("/dev/null", 409, "file_access"),
    ],
)
async def test_what_cannot_be_copied_is_named(caller: Caller, path: str, status: int, code: str) -> None:
    async with caller.http.get("/v1/archive", params={"path": path}) as reply:
        assert (reply.status, (await reply.json())["code"]) == (status, code)


async def test_where_nothing_can_be_written_is_named(caller: Caller, source: Path) -> None:
    body = io.BytesIO(b"".join(pack(str(source))))
    async with caller.http.put(UNPACK.path, params={"path": "/proc/nowhere/x"}, data=body) as reply:
        assert (await reply.json())["code"] in {"file_access", "file_not_found"}


async def test_a_file_that_shrinks_while_it_is_copied_cuts_the_copy(caller: Caller, source: Path) -> None:
    with (source / "a").open("r+b") as file:
        file.truncate(200 * 2**20)
        async with caller.http.get("/v1/archive", params={"path": str(source)}) as reply:
            await reply.content.readexactly(2000)  # so that the file is open there
            await asyncio.to_thread(file.truncate, 0)
            with pytest.raises(aiohttp.ClientError):
                await reply.read()
