from __future__ import annotations

import json
from pathlib import Path

import pytest

from rock._credentials import Credentials, read_credentials, write_credentials
from rock.wire.errors import BadRequestRockError


def test_what_is_written_is_read_back_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "credentials.json"
    write_credentials(path, "http://127.0.0.1:8080", "key")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_credentials(path) == Credentials(base_url="http://127.0.0.1:8080", api_key="key")
    assert json.loads(path.read_text()) == {"base_url": "http://127.0.0.1:8080", "api_key": "key"}


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text("old")
    path.chmod(0o644)
    write_credentials(path, "http://a", "one")
    write_credentials(path, "http://a", "two")
    assert read_credentials(path) == Credentials(base_url="http://a", api_key="two")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["credentials.json"]


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert read_credentials(tmp_path / "credentials.json") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "credentials.json"
    write_credentials(path, "http://a", "hidden")
    path.chmod(mode)
    with pytest.raises(BadRequestRockError, match=f"chmod 600 {path}") as caught:
        read_credentials(path)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "not json", '{"base_url": "http://a"}', '{"base_url": 1, "api_key": "k"}'])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "credentials.json"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(BadRequestRockError, match="write it anew"):
        read_credentials(path)


def test_the_key_is_not_shown() -> None:
    assert "hidden" not in repr(Credentials(base_url="http://a", api_key="hidden"))
