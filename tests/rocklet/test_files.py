"""Files on a real file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock.wire.errors import FileAccess, FileNotFound, InvalidRequest, RockException
from rock.wire.messages import DownloadRequest, FileFacts, ReadFileRequest, WriteFileRequest
from rocklet.files import Replacement, open_download, read_text, write_text


def write(path: Path, content: str, **options: object) -> None:
    write_text(WriteFileRequest(path=str(path), content=content, **options))  # type: ignore[arg-type]  # the request's


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(), st.sampled_from(["utf-8", "utf-16", "utf-8-sig", "utf-32"]))
def test_a_text_comes_back_as_it_was_written(tmp_path: Path, content: str, encoding: str) -> None:
    path = tmp_path / "f"
    write(path, content, encoding=encoding)
    found = read_text(ReadFileRequest(path=str(path), encoding=encoding), 2**20)
    assert (found.content, found.size) == (content, path.stat().st_size)


def test_line_ends_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "f", "a\r\nb\rc\n")
    assert (tmp_path / "f").read_bytes() == b"a\r\nb\rc\n"
    assert read_text(ReadFileRequest(path=str(tmp_path / "f")), 2**20).content == "a\r\nb\rc\n"


def test_what_a_write_did_is_told(tmp_path: Path) -> None:
    facts = write_text(WriteFileRequest(path=f"{tmp_path}/new/dirs/f", content="ä"))
    assert facts == FileFacts(path=f"{tmp_path}/new/dirs/f", size=2)


def test_a_replaced_file_keeps_its_mode_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o751)
    write(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    write(path, "newer", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    os.chown(path, 65534, 65534)
    write(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_what_is_not_committed_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with Replacement(str(tmp_path / "f"), None) as replacement:
        replacement.write(b"new")
        assert len(list(tmp_path.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("{tmp}/missing", FileNotFound),
        ("{tmp}", FileAccess),
        ("{tmp}/fifo", FileAccess),
        ("{tmp}/loop", FileAccess),
        ("{tmp}/file/below", FileAccess),
        ("{tmp}/" + "n" * 256, FileAccess),
        ("/dev/zero", FileAccess),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, path: str, error: type[RockException]) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    located = path.format(tmp=tmp_path)
    with pytest.raises(error):
        read_text(ReadFileRequest(path=located), 2**20)
    with pytest.raises(error):
        open_download(DownloadRequest(path=located))


@pytest.mark.parametrize("path", ["{tmp}", "{tmp}/fifo", "{tmp}/loop", "{tmp}/file/below", "/proc/no/x", "/dev/null"])
def test_what_cannot_be_written_says_why(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    with pytest.raises((FileAccess, FileNotFound)):
        write(Path(path.format(tmp=tmp_path)), "x")


def test_a_full_disk_is_named_and_nothing_is_left_on_it(small_disk: Path) -> None:
    with pytest.raises(FileAccess, match="disk is full"):
        write(small_disk / "f", "x" * 400_000)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("encoding", ["nonono", "rot13", "hex", "utf-8\0", ""])
def test_an_unknown_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(InvalidRequest, match="encoding"):
        read_text(ReadFileRequest(path=str(tmp_path / "f"), encoding=encoding), 2**20)
    with pytest.raises(InvalidRequest, match="encoding"):
        write(tmp_path / "f", "x", encoding=encoding)


def test_bytes_that_are_no_text_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff")
    with pytest.raises(FileAccess, match="download it"):
        read_text(ReadFileRequest(path=str(tmp_path / "f")), 2**20)
    assert read_text(ReadFileRequest(path=str(tmp_path / "f"), errors="replace"), 2**20).content == "\ufffd"


def test_a_file_that_shrinks_under_a_download_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 1_000_000)
    download = open_download(DownloadRequest(path=str(path)))
    assert download.read()
    path.write_bytes(b"")
    assert download.read() == b""
    assert download.is_cut
    download.close()
