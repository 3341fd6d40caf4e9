from __future__ import annotations

import pytest
from pydantic import ValidationError

from rock._actions import AbstractSandbox, RemoteSandboxRuntimeConfig, RockletConfig
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock.errors import NotInThisClient


def test_a_sandbox_is_one_by_rocks_definition_and_others_may_be_too() -> None:
    assert isinstance(Sandbox(SandboxConfig()), AbstractSandbox)
    with pytest.raises(TypeError, match="abstract"):
        AbstractSandbox()  # type: ignore[abstract]  # that is the point


def test_runtimes_can_be_configured_but_not_had() -> None:
    assert RemoteSandboxRuntimeConfig(port="1").model_dump() == {  # type: ignore[arg-type]  # pydantic converts
        "host": "http://127.0.0.1", "port": 1, "timeout": 0.15, "type": "remote",
    }  # fmt: skip
    for config in (RockletConfig(), RemoteSandboxRuntimeConfig()):
        with pytest.raises(NotInThisClient, match=type(config).__name__):
            config.get_sandbox_runtime()
    with pytest.raises(ValidationError):
        RockletConfig(more=1)  # type: ignore[call-arg]  # that is the point
