"""What a hostile or broken command can do to its rocklet: nothing beyond a limit that has a name, and is told."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import tarfile
import zipfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from rock.wire.archives import unpack
from rock.wire.errors import LimitReached, TooLarge
from rock.wire.messages import (
    CreateSessionRequest,
    ReadFileRequest,
    RockletExit,
    SessionRequest,
    WriteFileRequest,
)
from rock.wire.operations import (
    CLOSE_ROCKLET,
    CLOSE_SESSION,
    CREATE_SESSION,
    IS_ALIVE,
    LIST_SESSIONS,
    READ_FILE,
    WRITE_FILE,
)
from tests.cgroups import limited_cgroup
from tests.rocklet.callers import RemoteCaller
from tests.rocklets import start_rocklet

pytestmark = pytest.mark.slow

SESSIONS = int(os.environ.get("ROCK_ABUSE_SESSIONS", "1000"))
"""How many sessions are asked for, where there may be eight."""

_HANG = 60.0  # seconds for what takes one on a quiet machine
_GROWTH = 16 * 2**20  # bytes that a rocklet may take while it is abused
_BOMB = "bomb() { bomb | bomb & }; bomb"


@contextlib.asynccontextmanager
async def rocklet(*wrapper: str, **settings: object) -> AsyncIterator[tuple[RemoteCaller, Process]]:
    """A rocklet as a job starts it, whoever may call it, and its process."""
    async with start_rocklet(*wrapper, **settings) as (url, token, process), asyncio.timeout(_HANG * 3):
        headers = {"Authorization": f"Bearer {token}", "X-API-Key": token}
        async with aiohttp.ClientSession(url, headers=headers) as http:
            yield RemoteCaller(http), process


def peak_bytes(process: Process) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def refusal(caller: RemoteCaller) -> LimitReached:
    """The error that comes once there is room for no more processes."""
    async with asyncio.timeout(_HANG):
        while True:
            try:
                await caller.execute("true")
            except LimitReached as refused:
                return refused


async def test_a_fork_bomb_ends_at_the_limit_of_processes_and_the_rocklet_serves_on(tmp_path: Path) -> None:
    with limited_cgroup("pids", 100, v1="pids.max", v2="pids.max") as wrapper:
        async with rocklet(*wrapper) as (caller, process):
            await caller.call(CREATE_SESSION, CreateSessionRequest(startup_timeout=_HANG))
            await caller.run(_BOMB, timeout=1.0)
            refused = await refusal(caller)
            assert (refused.details["limit"], refused.details["value"]) == ("pids", 100)
            assert "raise pids_limit" in refused.message
            path = str(tmp_path / "file")
            await asyncio.gather(
                *(caller.call(WRITE_FILE, WriteFileRequest(path=f"{path}{n}", content="kept")) for n in range(20))
            )
            await caller.call(WRITE_FILE, WriteFileRequest(path=f"{path}7", content="replaced"))
            assert (await caller.call(READ_FILE, ReadFileRequest(path=f"{path}7"))).content == "replaced"
            assert (await caller.call(IS_ALIVE)).sandbox_id == "s-test"
            await caller.call(CLOSE_SESSION, SessionRequest())
            await caller.call(CLOSE_ROCKLET)
            assert await process.wait() == RockletExit.CLOSED
        assert Path(wrapper[-1]).read_text() == ""


async def test_a_full_disk_is_told_on_each_wire_and_holds_nothing_half_written(small_disk: Path) -> None:
    async with rocklet("env", f"TMPDIR={small_disk}", home=small_disk) as (caller, _):
        for size, is_full in ((2**20, True), (1000, False)):
            data = b"x" * size
            async with caller.http.put("/v1/files", params={"path": f"{small_disk}/native"}, data=data) as reply:
                told = await reply.text()
                assert ("the disk is full; delete something" in told) is is_full, told
            async with caller.http.post("/swerex/upload", data=form(data, target_path=f"{small_disk}/swerex")) as reply:
                told = await reply.text()
                assert ("the disk is full; delete something" in told) is is_full, told
            assert len(list(small_disk.iterdir())) == (0 if is_full else 2)
        full = await caller.execute("head -c 1000000 /dev/zero >more; rm more; echo again")
        assert (full.stdout, "No space left" in full.stderr) == ("again\n", True)


def form(data: bytes, **fields: str) -> aiohttp.FormData:
    """An upload as a client of SWE-ReX sends it."""
    made = aiohttp.FormData()
    made.add_field("file", data, filename="file")
    for name, value in fields.items():
        made.add_field(name, value)
    return made


async def test_what_ignores_every_signal_is_gone_after_its_time(tmp_path: Path) -> None:
    deaf = "trap '' TERM INT HUP QUIT; while :; do sleep 300; done"
    async with rocklet() as (caller, _):
        await caller.call(CREATE_SESSION, CreateSessionRequest(startup_timeout=_HANG))
        for number, stubborn in enumerate((deaf, f"(sh -c {deaf!r}) | cat")):
            # It holds the FIFO open for writing: its end of file says that all are gone.
            os.mkfifo(fifo := tmp_path / f"fifo{number}")
            gone = asyncio.ensure_future(asyncio.to_thread(fifo.read_bytes))
            in_session = asyncio.ensure_future(caller.run(f"(exec 9>{fifo}; {stubborn})", timeout=2.0))
            assert (await caller.execute(f"exec 9>{fifo}; {stubborn}", timeout=2.0)).timed_out
            assert (await in_session).timed_out
            assert await gone == b""
        os.mkfifo(fifo := tmp_path / "fifo")
        gone = asyncio.ensure_future(asyncio.to_thread(fifo.read_bytes))
        assert (await caller.run(f"exec 9>{fifo}; {deaf}", timeout=2.0)).shell_restarted
        assert await gone == b""
        assert (await caller.run("echo next")).output == "next\n"


async def test_a_flood_of_lines_is_cut_and_counted_and_others_are_served() -> None:
    lines = 1_000_000
    size = sum(len(str(number)) + 1 for number in range(1, lines + 1))
    async with rocklet() as (caller, process):
        for name in ("flood", "calm"):
            await caller.call(CREATE_SESSION, CreateSessionRequest(session=name, startup_timeout=_HANG))
        before = peak_bytes(process)
        flood = asyncio.ensure_future(caller.run(f"seq {lines}", session="flood", max_output_bytes=2**20))
        alone = asyncio.ensure_future(caller.execute(f"seq {lines}", max_output_bytes=2**20))
        while not (flood.done() and alone.done()):
            assert (await caller.run("echo calm", session="calm")).output == "calm\n"
        in_session, by_itself = await flood, await alone
        for output, cut in ((in_session.output, in_session.cut_bytes), (by_itself.stdout, by_itself.cut_bytes)):
            assert len(output) == 2**20
            assert len(output) + cut == size
            assert output.startswith("1\n2\n")
            assert output.endswith(f"{lines}\n")
        assert peak_bytes(process) < before + _GROWTH


async def test_lines_that_nobody_waits_for_fill_no_memory() -> None:
    async with rocklet() as (caller, process):
        await caller.call(CREATE_SESSION, CreateSessionRequest(startup_timeout=_HANG))
        before = peak_bytes(process)
        await caller.run("seq 2000000 & flood=$!")
        done = await caller.run("wait $flood; echo end", max_output_bytes=2**20)
        assert done.output.endswith("end\n")
        assert done.cut_bytes > 2**20
        assert peak_bytes(process) < before + _GROWTH


async def test_a_file_that_grows_while_it_is_read_is_as_long_as_it_was(tmp_path: Path) -> None:
    grows = tmp_path / "tree" / "grows"
    grows.parent.mkdir()
    grows.write_bytes(b"first")
    async with rocklet(read_bytes=2**20) as (caller, _):
        await caller.call(CREATE_SESSION, CreateSessionRequest(startup_timeout=_HANG))
        await caller.run(f"(for i in {{1..200000}}; do printf %01000d 7; done >>{grows}) &")
        await caller.run(f"until [ $(stat -c %s {grows}) -gt 5000 ]; do :; done", timeout=_HANG)
        async with caller.http.get("/v1/files", params={"path": str(grows)}) as reply:
            assert len(await reply.read()) == int(reply.headers["Content-Length"])
        async with caller.http.get("/v1/archive", params={"path": str(grows.parent)}) as reply:
            await unpack(reply.content.iter_any(), str(tmp_path / "copy"))
        assert (tmp_path / "copy" / "grows").read_bytes().startswith(b"first0000")
        async with asyncio.timeout(_HANG):
            while (await asyncio.to_thread(grows.stat)).st_size <= 2**20:
                await caller.call(IS_ALIVE)
        with pytest.raises(TooLarge, match="raise ROCKLET_READ_BYTES"):
            await caller.call(READ_FILE, ReadFileRequest(path=str(grows)))
        await caller.run("kill %1")


def archive_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar stream as `pack` writes it, but for what is in it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry, data in entries:
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def folder(name: str = ".", **changes: object) -> tarfile.TarInfo:
    """An entry for a folder, changed."""
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE
    for field, value in changes.items():
        setattr(entry, field, value)
    return entry


def sparse() -> bytes:
    """An entry of no bytes that says it is a file of a terabyte of holes."""
    header = bytearray(folder("./holes", type=tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 2**30
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (archive_of((folder(), b""), (folder("./../out"), b"")), "leads outside"),
        (archive_of((folder(), b""), (folder("/out"), b"")), "leads outside"),
        (archive_of((folder(), b""))[:512] + sparse() + bytes(1024), "neither file, directory nor symbolic link"),
    ],
    ids=["up", "absolute", "holes"],
)
async def test_a_hostile_stream_of_files_is_refused_and_fills_no_disk(tmp_path: Path, body: bytes, why: str) -> None:
    target = tmp_path / "target"
    async with rocklet() as (caller, _):
        reply = await caller.http.put("/v1/archive", params={"path": str(target)}, data=body)
        told = await reply.text()
    assert (reply.status, why in told) == (400, True), told
    assert os.listdir(tmp_path) == ["target"]
    assert os.listdir(target) == []


def zip_of(**entries: bytes) -> bytes:
    """A zip archive; `__` in a name is `..`."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("__", "../"), data)
    return made.getvalue()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (zip_of(zeros=bytes(2**24)), "raise ROCKLET_ARCHIVE_BYTES"),
        (zip_of(a=b"", b=b"", c=b""), "raise ROCKLET_ARCHIVE_FILES"),
        (zip_of(**{"n" * 60_000: b""}), "raise ROCKLET_ARCHIVE_FILES"),
        (zip_of(__out=b"x"), "leads out of"),
    ],
    ids=["bomb", "many", "a long directory", "up"],
)
async def test_a_hostile_zip_is_refused_on_the_wire_that_takes_zips(tmp_path: Path, body: bytes, why: str) -> None:
    form_of_zip = form(body, target_path=str(tmp_path / "target"), unzip="true")
    async with rocklet(archive_bytes=2**20, archive_files=2) as (caller, process):
        before = peak_bytes(process)
        async with caller.http.post("/swerex/upload", data=form_of_zip) as reply:
            told = await reply.text()
        assert (reply.status in {422, 511}, why in told) == (True, True), told
        assert peak_bytes(process) < before + _GROWTH
    assert set(os.listdir(tmp_path)) <= {"target"}
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 2**20


async def test_of_many_sessions_asked_for_as_many_are_made_as_there_may_be() -> None:
    async with rocklet(session_limit=8) as (caller, process):
        before = peak_bytes(process)

        async def ask(number: int) -> bool:
            try:
                await caller.call(CREATE_SESSION, CreateSessionRequest(session=str(number), startup_timeout=_HANG))
            except LimitReached as refused:
                assert (refused.details["limit"], refused.details["value"]) == ("sessions", 8)
                assert "close some, or raise ROCKLET_SESSION_LIMIT" in refused.message
                return False
            return True

        assert sum(await asyncio.gather(*map(ask, range(SESSIONS)))) == 8
        assert len((await caller.call(LIST_SESSIONS)).sessions) == 8
        assert peak_bytes(process) < before + _GROWTH


async def test_a_rocklet_that_may_open_no_more_files_says_so() -> None:
    async with rocklet("/bin/sh", "-c", 'ulimit -Sn 200; exec "$@"', "sh") as (caller, _):
        names = [str(number) for number in range(60)]
        for name in names:
            try:
                await caller.call(CREATE_SESSION, CreateSessionRequest(session=name, startup_timeout=_HANG))
            except LimitReached as refused:
                assert (refused.details["limit"], refused.details["value"]) == ("nofile", 200)
                assert "close sessions or commands" in refused.message
                break
        else:
            pytest.fail("60 sessions took fewer than 200 descriptors")
        await caller.call(CLOSE_SESSION, SessionRequest(session=names[0]))
        await caller.call(CREATE_SESSION, CreateSessionRequest(session="again", startup_timeout=_HANG))
