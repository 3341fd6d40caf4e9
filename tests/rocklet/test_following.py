from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from rock.wire.codec import encode_query
from rock.wire.errors import ErrorBody, FileAccess, FileNotFound, InvalidRequest, from_body
from rock.wire.frames import FRAMES_TYPE
from rock.wire.messages import DownloadRequest
from rock.wire.operations import DOWNLOAD, GET_CLOCKS
from tests.followers import FollowedLog
from tests.rocklet.callers import Caller

pytestmark = pytest.mark.slow


@asynccontextmanager
async def following(
    caller: Caller, path: Path | str, pid: int, *, offset: int = 0, length: int | None = None, heartbeat: float = 15.0
) -> AsyncIterator[FollowedLog]:
    request = DownloadRequest(
        path=str(path), follow=pid, sha256=False, offset=offset, length=length, heartbeat=heartbeat
    )
    async with caller.http.get(DOWNLOAD.path, params=encode_query(request)) as reply, asyncio.timeout(60):
        if reply.status != 200:
            raise from_body(msgspec.json.decode(await reply.read(), type=ErrorBody), reply.status)
        assert reply.content_type == FRAMES_TYPE
        yield FollowedLog(reply.content)


async def begin(caller: Caller, script: str) -> int:
    """The id of a script that runs in the background."""
    ran = await caller.execute(f"({script}) & echo $!")
    return int(ran.stdout)


async def test_what_a_process_writes_comes_as_it_writes_it_and_ends_with_it(caller: Caller, tmp_path: Path) -> None:
    output, gate = tmp_path / "out", tmp_path / "gate"
    pid = await begin(caller, f"exec > {output} 2>&1; mkfifo {gate}; echo one; read x < {gate}; echo two; exit 3")
    async with following(caller, f"/proc/{pid}/fd/1", pid) as log:
        assert await log.readline() == b"one\n"
        await asyncio.to_thread(gate.write_text, "go on\n")
        assert await log.read() == b"two\n"


async def test_nothing_is_lost_or_doubled_of_much_that_is_written(caller: Caller, tmp_path: Path) -> None:
    output = tmp_path / "out"
    pid = await begin(caller, f"exec > {output} 2>&1; seq 1 300000")
    async with following(caller, output, pid) as log:
        assert await log.read() == b"".join(b"%d\n" % number for number in range(1, 300_001))


async def test_it_can_go_on_where_an_earlier_one_was_cut(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("0123456789")
    pid = await begin(caller, "exec > /dev/null 2>&1; sleep 0.2")
    async with following(caller, tmp_path / "out", pid, offset=4) as log:
        assert await log.read() == b"456789"


async def test_a_process_that_has_ended_is_waited_for_no_longer(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("all there is")
    async with following(caller, tmp_path / "out", 2**31 - 1) as log:
        assert await log.read() == b"all there is"


async def test_a_silent_process_is_followed_with_a_word_now_and_then(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    pid = await begin(caller, "exec > /dev/null 2>&1; sleep 60")
    async with following(caller, tmp_path / "out", pid, heartbeat=0.01) as log:
        while log.heartbeats < 3:
            await log.read_some()


async def test_who_follows_holds_the_idle_clock_and_lets_go_of_it(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("begun\n")
    pid = await begin(caller, "exec > /dev/null 2>&1; sleep 60")
    async with following(caller, tmp_path / "out", pid) as log:
        await log.readline()
        assert (await caller.call(GET_CLOCKS)).actions_in_flight == 1
    async with asyncio.timeout(10):
        while (await caller.call(GET_CLOCKS)).actions_in_flight:
            (tmp_path / "out").write_text("the caller's absence is noticed when something is to be sent\n")


async def test_what_cannot_be_followed_says_so(caller: Caller, tmp_path: Path) -> None:
    with pytest.raises(FileNotFound):
        async with following(caller, tmp_path / "none", 1):
            pass
    with pytest.raises(FileAccess, match="only regular files"):
        async with following(caller, "/dev/null", 1):
            pass
    with pytest.raises(InvalidRequest, match="follow is set"):
        async with following(caller, tmp_path / "none", 1, length=5):
            pass
