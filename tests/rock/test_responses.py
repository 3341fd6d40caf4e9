from __future__ import annotations

import copy
import pickle

import pytest
from pydantic import BaseModel

from rock import _responses as responses


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (
            responses.BashObservation(),
            {"session_type": "bash", "output": "", "exit_code": None, "failure_reason": "", "expect_string": ""},
        ),
        (responses.CommandResponse(), {"stdout": "", "stderr": "", "exit_code": None}),
        (responses.CreateBashSessionResponse(), {"output": "", "session_type": "bash"}),
        (responses.CloseBashSessionResponse(), {"session_type": "bash"}),
        (responses.ReadFileResponse(), {"content": ""}),
        (responses.WriteFileResponse(), {"success": False, "message": ""}),
        (responses.UploadResponse(), {"success": False, "message": "", "file_name": ""}),
        (responses.DownloadFileResponse(), {"success": False, "message": ""}),
        (responses.ExecuteBashSessionResponse(), {"success": False, "message": ""}),
        (responses.SandboxResponse(), {"code": None, "exit_code": None, "failure_reason": None}),
        (responses.CloseResponse(), {}),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_response_has_rocks_fields_and_defaults_and_pickles(model: BaseModel, fields: dict[str, object]) -> None:
    assert model.model_dump() == fields
    assert pickle.loads(pickle.dumps(model)) == copy.deepcopy(model) == model


def test_responses_can_be_changed() -> None:
    response = responses.CommandResponse(exit_code=0)
    response.exit_code = -1
    assert response.exit_code == -1


def test_liveness_is_its_truth() -> None:
    assert responses.IsAliveResponse(is_alive=True)
    assert not responses.IsAliveResponse(is_alive=False, message="why")


def test_rocks_other_names_are_the_same_classes() -> None:
    assert responses.Observation is responses.BashObservation
    assert responses.FileUploadResponse is responses.UploadResponse
    assert responses.CreateSessionResponse is responses.CreateBashSessionResponse
    assert responses.CloseSessionResponse is responses.CloseBashSessionResponse


def test_a_status_without_anything_known_is_alive_as_in_rock() -> None:
    status = responses.SandboxStatusResponse()
    assert (status.is_alive, status.status, status.state, status.state_history) == (True, None, None, [])
