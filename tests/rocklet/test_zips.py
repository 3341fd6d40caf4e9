from __future__ import annotations

import contextlib
import io
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.errors import FileAccess, InvalidRequest, LimitReached
from rocklet.zips import ZipLimits, _directory_bytes, unzip

_LIMITS = ZipLimits(files=1000, unpacked_bytes=2**30)


def _zip(entries: dict[str, bytes], *, mode: int = 0) -> io.BytesIO:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | mode) << 16
            file.writestr(entry, data)
    archive.seek(0)
    return archive


def test_files_come_with_their_folders_and_permissions(tmp_path: Path) -> None:
    unzip(_zip({"a/b/run.sh": b"echo", "a/empty/": b""}, mode=0o755), str(tmp_path / "new"), _LIMITS)
    assert (tmp_path / "new/a/b/run.sh").read_bytes() == b"echo"
    assert os.access(tmp_path / "new/a/b/run.sh", os.X_OK)
    assert (tmp_path / "new/a/empty").is_dir()


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out"])
def test_an_entry_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "target"
    with pytest.raises(InvalidRequest, match="leads out"):
        unzip(_zip({name: b"x"}), str(folder), _LIMITS)
    assert os.listdir(tmp_path) == ["target"]


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "target", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    with pytest.raises(InvalidRequest, match="leads out"):
        unzip(_zip({"link/file": b"x"}), str(folder), _LIMITS)
    assert not list(outside.iterdir())


def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    bomb = _zip({"zeros": bytes(10 * 2**20)})
    assert len(bomb.getvalue()) < 20_000
    with pytest.raises(LimitReached) as caught:
        unzip(bomb, str(tmp_path), ZipLimits(files=10, unpacked_bytes=2**20))
    assert caught.value.details == {"limit": "archive_bytes", "value": 2**20}
    assert (tmp_path / "zeros").stat().st_size <= 2**20


def test_too_many_files_are_refused_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(LimitReached):
        unzip(_zip({"a": b"", "b": b"", "c": b""}), str(tmp_path / "target"), ZipLimits(files=2, unpacked_bytes=2**20))
    assert not (tmp_path / "target").exists()


@given(st.binary(max_size=200))
def test_what_is_no_zip_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        unzip(io.BytesIO(data), "/nonexistent", _LIMITS)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_zip_is_a_typed_error_or_whole(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    data = bytearray(_zip({"a/b": b"some text" * 20, "c": b"more"}).getvalue())
    data[at % len(data)] = byte
    folder = tmp_path_factory.mktemp("damaged")
    with contextlib.suppress(InvalidRequest, FileAccess, LimitReached):
        unzip(io.BytesIO(bytes(data)), str(folder), _LIMITS)


def test_an_entry_without_a_name_is_a_typed_error(tmp_path: Path) -> None:
    damaged = _zip({"name": b"text"}).getvalue().replace(b"name", b"\0ame")
    with pytest.raises(InvalidRequest):
        unzip(io.BytesIO(damaged), str(tmp_path), _LIMITS)


def test_a_folder_that_is_a_file_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileAccess, match="file"):
        unzip(_zip({"a": b""}), str(tmp_path / "file"), _LIMITS)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 0x10000], ids=["plain", "zip64"])
def test_an_archive_whose_directory_is_too_long_is_refused_before_it_is_read(count: int, tmp_path: Path) -> None:
    archive = _zip({f"{number:0200}": b"" for number in range(count)})
    with pytest.raises(LimitReached, match="raise ROCKLET_ARCHIVE_FILES"):
        unzip(archive, str(tmp_path / "target"), ZipLimits(files=count, unpacked_bytes=1))
    assert _directory_bytes(archive) == count * (46 + 200)
