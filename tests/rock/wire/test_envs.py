import msgspec
import pytest

from rock.wire.codec import decode, encode
from rock.wire.envs import ENV_SANDBOX, EnvStep, MakeEnvRequest, ResetEnvRequest, StepEnvRequest
from rock.wire.errors import InvalidRequest
from rock.wire.spec import SandboxSpec


def test_a_call_is_about_the_default_environment_unless_it_names_another() -> None:
    assert decode(StepEnvRequest, b'{"action": "up"}').env == "default"
    assert encode(StepEnvRequest(action="up")) == b'{"action":"up"}'


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (MakeEnvRequest, b"{}", "env_id"),
        (MakeEnvRequest, b'{"env_id": ""}', "env_id"),
        (MakeEnvRequest, b'{"env_id": "x", "kwargs": [1]}', "kwargs"),
        (ResetEnvRequest, b'{"seed": -1}', "seed"),
        (ResetEnvRequest, b'{"seed": 4294967296}', "seed"),
        (ResetEnvRequest, b'{"env": "a/b"}', "env"),
        (StepEnvRequest, b'{"action": 3}', "action"),
        (StepEnvRequest, b'{"action": "up", "timeout": 0}', "timeout"),
    ],
)
def test_a_wrong_field_is_named(kind: type[msgspec.Struct], body: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        decode(kind, body)
    assert raised.value.details["field"] == field


def test_results_ignore_what_a_newer_server_adds() -> None:
    body = b'{"observation": "o", "reward": 1, "terminated": true, "truncated": false, "info": {"a": [1]}, "new": 1}'
    step = decode(EnvStep, body)
    assert (step.reward, step.terminated, step.info) == (1.0, True, {"a": [1]})


def test_an_environments_own_sandbox_is_one_that_can_be_asked_for() -> None:
    assert decode(SandboxSpec, encode(ENV_SANDBOX)) == ENV_SANDBOX
