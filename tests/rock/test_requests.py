from __future__ import annotations

import copy
import pickle

import pytest
from pydantic import BaseModel, ValidationError

from rock import _requests as requests


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (
            requests.Command(command="x"),
            {"session_type": "bash", "command": "x", "timeout": 1200, "env": None, "cwd": None},
        ),
        (
            requests.CreateBashSessionRequest(),
            {
                "session_type": "bash",
                "session": "default",
                "startup_source": [],
                "env_enable": False,
                "env": None,
                "remote_user": None,
            },
        ),
        (
            requests.BashAction(command="x"),
            {"action_type": "bash", "command": "x", "session": "default", "timeout": None, "check": "raise"},
        ),
        (requests.WriteFileRequest(content="c", path="p"), {"content": "c", "path": "p"}),
        (requests.CloseBashSessionRequest(), {"session_type": "bash", "session": "default"}),
        (requests.ReadFileRequest(path="p"), {"path": "p", "encoding": None, "errors": None}),
        (
            requests.UploadRequest(source_path="s", target_path="t"),
            {"source_path": "s", "target_path": "t", "upload_mode": requests.UploadMode.AUTO},
        ),
        (requests.ChownRequest(remote_user="u"), {"remote_user": "u", "paths": [], "recursive": False}),
        (requests.ChmodRequest(), {"paths": [], "mode": "755", "recursive": False}),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_request_has_rocks_fields_and_defaults_and_pickles(model: BaseModel, fields: dict[str, object]) -> None:
    assert model.model_dump() == fields
    assert pickle.loads(pickle.dumps(model)) == copy.deepcopy(model) == model


def test_requests_can_be_changed_coerce_and_ignore_unknown_keys() -> None:
    command = requests.Command.model_validate({"command": ["ls"], "timeout": "2", "unknown": 1})
    assert command.timeout == 2.0
    command.timeout = 3
    assert command.model_copy(deep=True).timeout == 3


def test_a_wrong_value_is_a_value_error_that_names_the_field() -> None:
    with pytest.raises(ValidationError, match="check"):
        requests.BashAction.model_validate({"command": "x", "check": "maybe"})


def test_rocks_unions_can_be_called() -> None:
    assert requests.Action(command="x") == requests.BashAction(command="x")
    assert requests.CreateSessionRequest().session == requests.CloseSessionRequest().session == "default"


def test_a_subclass_may_add_fields() -> None:
    class Mine(requests.Command):
        note: str = "n"

    assert Mine(command="x").note == "n"
