from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from aiohttp import web

from rock._files import LocalSource, receive_file
from rock._transport import Call, Route
from rock.wire import messages as m
from rock.wire.errors import InternalError
from rock.wire.operations import DOWNLOAD, SHA256_HEADER
from tests.rock.servers import Seen, WireServer, serve

CALL = Call(operation=DOWNLOAD, request=m.DownloadRequest(path="/a"), request_id="r")


async def _all(source: LocalSource) -> bytes:
    return b"".join([piece async for piece in source()])


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 * 2 + 1])
async def test_a_local_file_is_sent_whole_as_often_as_it_is_asked_for(tmp_path: Path, size: int) -> None:
    content = hashlib.shake_128(b"seed").digest(size)
    (tmp_path / "a").write_bytes(content)
    source = LocalSource(tmp_path / "a")
    assert source.size == size
    for _ in range(2):
        assert await _all(source) == content
        assert source.sha256 == hashlib.sha256(content).hexdigest()


async def test_a_local_file_that_grows_is_sent_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"before")
    source = LocalSource(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"before and after")
    assert await _all(source) == b"before"


async def test_a_local_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"before")
    source = LocalSource(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"bef")
    with pytest.raises(OSError, match="3 bytes shorter"):
        await _all(source)


async def _receive(content: bytes, digest: str, target: Path) -> tuple[int, str]:
    async with serve(WireServer(is_gateway=False, token=None)) as rocklet:

        @rocklet.answer(DOWNLOAD)
        async def _(_seen: Seen) -> web.Response:
            return web.Response(body=content, headers={SHA256_HEADER: digest})

        route = Route(url=rocklet.url, headers={}, is_direct=True, connect_timeout=1)
        return await receive_file(route, CALL, target)


async def test_a_download_replaces_its_target_and_keeps_the_targets_mode(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o750)
    digest = hashlib.sha256(b"new").hexdigest()
    assert await _receive(b"new", digest, target) == (3, digest)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o750


async def test_a_new_target_gets_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    await _receive(b"new", hashlib.sha256(b"new").hexdigest(), tmp_path / "target")
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "plain").stat().st_mode


async def test_other_bytes_than_announced_leave_the_target_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    with pytest.raises(InternalError, match="download it again"):
        await _receive(b"new", "0" * 64, target)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("target", "old")]
