from pathlib import Path

import pytest

from rock.wire.errors import InvalidRequest
from rock_nomad.cli.options import read_request, request_files
from rock_nomad.cli.submission import Program

EXAMPLES = Path(__file__).parents[3] / "jobspecs" / "examples"


def test_options_become_a_request_without_steps() -> None:
    request = read_request(None, ["A=1", "B=x=y"], image="python:3.11", memory="64m", gpus=None, sandbox_id="a")
    assert (request.name, request.steps) == ("a", [])
    assert request.spec.env == {"A": "1", "B": "x=y"}
    assert request.spec.memory_bytes == 64 * 2**20


def test_a_file_is_read_whole_or_not_at_all() -> None:
    assert read_request(EXAMPLES / "hello.yaml", image=None).name == "hello"
    with pytest.raises(InvalidRequest, match="leave out env, image"):
        read_request(EXAMPLES / "hello.yaml", ["A=1"], image="x")


def test_a_folder_means_every_request_in_it() -> None:
    assert [request.name for request in request_files(EXAMPLES)] == ["gpu", "hello", "python-project", "sokoban"]


def test_a_program_is_known_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "play.py").touch()
    assert request_files(tmp_path / "play.py") == request_files(tmp_path) == [Program(path=tmp_path / "play.py")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="no programs"):
        request_files(tmp_path / "empty")
