from typing import Any

import pytest

from rock.wire import messages as m
from rock.wire.codec import convert
from rock.wire.errors import InvalidRequest, NotReady
from rock.wire.spec import Registry
from rock_nomad.gateway.dialects.rock.requests import (
    CreateSessionRequest,
    ListRequest,
    RunRequest,
    StartRequest,
    to_create_session,
    to_list,
    to_run,
    to_spec,
    translate,
)

SENT = {
    "image": " python:3.11 ",
    "image_os": "linux",
    "auto_clear_time": 5,
    "auto_clear_time_minutes": 5,
    "startup_timeout": 180,
    "memory": "8g",
    "cpus": "2",
    "disk": "50G",
    "use_kata_runtime": "False",
}
"""What rl-rock 1.11 sends for a SandboxConfig of defaults, without its nulls."""


def _start(**fields: Any) -> StartRequest:  # noqa: ANN401 - JSON
    return convert(StartRequest, {**SENT, **fields}, is_strict=False)


def test_a_start_of_defaults_is_a_spec_of_defaults() -> None:
    spec = to_spec(_start(), {})
    assert (spec.image, spec.cpus, spec.memory_bytes, spec.disk_bytes) == ("python:3.11", 2.0, 8 * 2**30, None)
    assert (spec.idle_timeout, spec.startup_timeout, spec.isolation, spec.labels) == (300.0, 180.0, None, {})


def test_what_is_asked_for_is_in_the_spec() -> None:
    spec = to_spec(
        _start(
            disk="1g",
            num_gpus=2.0,
            accelerator_type="H100",
            use_kata_runtime=True,
            registry_username="ann",
            registry_password="secret",
            pull="always",
        ),
        {"X-User-Id": "ann", "X-Namespace": "", "X-Experiment-Id": "e1"},
    )
    assert (spec.disk_bytes, spec.gpus, spec.gpu_type, spec.isolation) == (2**30, 2, "H100", "kata")
    assert (spec.registry, spec.pull) == (Registry(username="ann", password="secret"), "always")
    assert spec.labels == {"rock.user_id": "ann", "rock.experiment_id": "e1"}


@pytest.mark.parametrize("wanted", [2, 2.0, "2", "2.0"])
def test_gpus_are_counted_however_they_are_written(wanted: object) -> None:
    assert to_spec(_start(num_gpus=wanted), {}).gpus == 2


def test_credentials_are_in_no_repr() -> None:
    assert "hunter2" not in repr(_start(registry_username="ann", registry_password="hunter2"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"num_gpus": 0.5}, "num_gpus"),
        ({"num_gpus": "0.5"}, "num_gpus"),
        ({"num_gpus": "inf"}, "num_gpus"),
        ({"num_gpus": "nan"}, "num_gpus"),
        ({"num_gpus": -1}, "num_gpus"),
        ({"num_gpus": 10**9}, "num_gpus"),
        ({"num_gpus": 1, "accelerator_type": "${x}"}, "accelerator_type"),
        ({"memory": "8q"}, "memory"),
        ({"memory": 1}, "memory"),
        ({"image_os": "windows"}, "image_os"),
        ({"registry_password": "x"}, "registry_username"),
        ({"auto_archive_seconds": 1, "auto_delete_seconds": 1}, "auto_archive_seconds"),
        ({"startup_timeout": -1}, "startup_timeout"),
        ({"auto_clear_time_minutes": 10**9}, "auto_clear_time_minutes"),
        ({"sandbox_id": "A B"}, "sandbox_id"),
    ],
)
def test_what_is_wrong_is_named_as_rock_names_it(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_spec(_start(**fields), {})
    error = translate(caught.value)
    assert isinstance(error, InvalidRequest)
    assert error.details["field"] == field
    assert field in error.message


def test_other_errors_are_left_as_they_are() -> None:
    error = NotReady("wait", details={"field": "user"})
    assert translate(error) is error


def test_a_session_for_one_call_closes_when_idle() -> None:
    def idle_timeout(session: str) -> float | None:
        return to_create_session(CreateSessionRequest(sandbox_id="a", session=session)).idle_timeout

    assert idle_timeout("default") is None
    assert idle_timeout("bash-1763729000123456789") == 600.0


def test_what_goes_to_a_program_is_not_shown_to_the_shell() -> None:
    assert to_run(RunRequest(sandbox_id="a", command="(")).check_syntax
    assert not to_run(RunRequest(sandbox_id="a", command="(", is_interactive_command=True)).check_syntax


def test_a_page_is_an_offset_and_an_owner_is_a_label() -> None:
    asked = convert(ListRequest, {"page": "3", "page_size": "20", "user_id": "ann"}, is_strict=False)
    assert to_list(asked) == m.ListSandboxesRequest(limit=20, offset=40, count=True, label=["rock.user_id=ann"])
