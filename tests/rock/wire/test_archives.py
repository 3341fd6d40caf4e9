from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from rock.wire.archives import pack, unpack


async def _stream(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _tree(folder: Path) -> dict[str, object]:
    """What a folder holds: modes of folders, targets of links, contents and modes of files."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name, mode = str(path.relative_to(folder)), stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = mode if path.is_dir() else (path.read_bytes(), mode)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "deep" / "empty").mkdir(parents=True)
    (source / "deep" / "program").write_bytes(b"#!/bin/sh\n")
    (source / "deep" / "program").chmod(0o755)
    (source / "deep").chmod(0o500)
    (source / "large").write_bytes(os.urandom(2**20 + 1))
    (source / "blocks").write_bytes(os.urandom(2**20))
    (source / "nothing").touch()
    (source / ("long" * 60)).write_text("a name beyond what plain tar holds")
    (source / "Ünïcödé \udcff\n").write_text("any name")
    (source / "link").symlink_to("deep/program")
    (source / "dangling").symlink_to("/nowhere")
    return source


async def test_a_directory_arrives_as_it_was(source: Path, tmp_path: Path) -> None:
    root = await unpack(_stream(pack(str(source))), str(tmp_path / "new" / "copy"))
    assert root == str(tmp_path / "new" / "copy")
    assert _tree(Path(root)) == _tree(source)


async def test_a_directory_that_is_there_takes_it_in_under_its_name(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    root = await unpack(_stream(pack(str(source))), str(tmp_path / "there"), "source")
    assert root == str(tmp_path / "there" / "source")
    assert _tree(Path(root)) == _tree(source)


async def test_a_file_becomes_its_target_and_replaces_a_file_or_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "b").symlink_to("kept")
    assert await unpack(_stream(pack(str(tmp_path / "a"))), str(tmp_path / "b"), "a") == str(tmp_path / "b")
    assert ((tmp_path / "b").read_bytes(), (tmp_path / "b").is_symlink()) == (b"new", False)
    assert (tmp_path / "kept").read_bytes() == b"kept"


async def test_what_else_a_directory_holds_stays(source: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "own").write_text("own")
    await unpack(_stream(pack(str(source))), str(tmp_path / "copy"))
    assert _tree(tmp_path / "copy").keys() == {*_tree(source), "own"}


@pytest.mark.parametrize("kind", ["fifo", "absent"])
def test_what_is_neither_file_nor_directory_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "fifo")
    with pytest.raises((ValueError, FileNotFoundError)):
        list(pack(str(tmp_path / kind)))


async def test_a_fifo_below_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "fifo")
    root = await unpack(_stream(pack(str(tmp_path / "source"))), str(tmp_path / "copy"))
    assert _tree(Path(root)) == {}


def _evil(*entries: tuple[str, bytes, str]) -> bytes:
    """A stream with entries of any names, kinds and link targets."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, kind, link in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, link, 0o777
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"evil"))
    return made.getvalue()


FILE, LINK, HARD, FOLDER = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", FILE, "")],
        [("./../evil", FILE, "")],
        [("/evil", FILE, "")],
        [("evil", FILE, "")],
        [(".", FOLDER, ""), ("./a", LINK, "../outside"), ("./a/evil", FILE, "")],
        [(".", FOLDER, ""), ("./a", LINK, "../outside"), ("./a", FOLDER, "")],
        [(".", LINK, "outside"), ("./evil", FILE, "")],
        [(".", FOLDER, ""), ("./evil", HARD, "../outside/victim")],
        [(".", FOLDER, ""), ("./evil", tarfile.CHRTYPE, "")],
    ],
    ids=str,
)
async def test_a_hostile_stream_writes_nothing_outside(tmp_path: Path, entries: list[tuple[str, bytes, str]]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "victim").write_bytes(b"whole")
    before = {**_tree(tmp_path), "mode": outside.stat().st_mode}
    with pytest.raises(tarfile.TarError):
        await unpack(_stream([_evil(*entries)]), str(tmp_path / "copy"))
    after = {name: what for name, what in _tree(tmp_path).items() if not name.startswith("copy")}
    assert {**after, "mode": outside.stat().st_mode} == before


@pytest.mark.parametrize("data", [b"", b"no tar", b"\xff" * 2000])
async def test_a_stream_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(tarfile.TarError):
        await unpack(_stream([data]), str(tmp_path / "copy"))


async def test_a_stream_that_breaks_off_says_so(source: Path, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for piece in list(pack(str(source)))[:5]:
            yield piece
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        await unpack(broken(), str(tmp_path / "copy"))


async def test_a_stream_that_was_cut_anywhere_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_bytes(bytes(1024))
    whole = b"".join(pack(str(source)))
    for size in range(0, len(whole) - 3 * 512, 512):
        with pytest.raises(tarfile.TarError):
            await unpack(_stream([whole[:size]]), str(tmp_path / "copy"))
    await unpack(_stream([whole[at : at + 100] for at in range(0, len(whole), 100)]), str(tmp_path / "copy"))
    assert _tree(tmp_path / "copy") == _tree(source)


def test_no_piece_is_empty_since_that_would_be_the_end(source: Path) -> None:
    assert all(pack(str(source)))


async def test_a_copy_that_is_cancelled_leaves_no_thread_waiting(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def never() -> AsyncIterator[bytes]:
        asked.set()
        await asyncio.Event().wait()
        yield b""

    for _ in range(10):  # more than there are threads
        asked.clear()
        copying = asyncio.ensure_future(unpack(never(), str(tmp_path / "copy")))
        await asyncio.wait_for(asked.wait(), 5)
        copying.cancel()
        await asyncio.wait([copying])


async def test_a_header_that_would_fill_the_memory_is_no_archive(tmp_path: Path) -> None:
    first, *rest = pack(str(tmp_path))
    long = tarfile.TarInfo("./" + "x" * 2**22).tobuf(tarfile.GNU_FORMAT)
    given = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal given
        for piece in (first, *(long[at : at + 2**16] for at in range(0, len(long), 2**16)), *rest):
            given += len(piece)
            yield piece

    with pytest.raises(tarfile.TarError, match="a header of more than 1048576 bytes"):
        await unpack(stream(), str(tmp_path / "target"))
    assert given < 2**21


async def test_a_file_of_holes_is_no_part_of_an_archive(tmp_path: Path) -> None:
    first, *rest = pack(str(tmp_path))
    holes = tarfile.TarInfo("./holes")
    holes.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(tarfile.TarError, match="neither file, directory nor symbolic link"):
        await unpack(_stream((first, holes.tobuf(tarfile.GNU_FORMAT), *rest)), str(tmp_path / "target"))
