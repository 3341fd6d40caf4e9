from __future__ import annotations

import pytest
from pydantic import ValidationError

from rock._env_actions import Env, EnvMakeRequest, EnvResetRequest, EnvStepRequest, EnvStepResponse


def test_a_sandbox_id_is_trimmed_and_never_blank() -> None:
    assert EnvMakeRequest(env_id="game:Sokoban-v0-easy", sandbox_id=" s1 ").sandbox_id == "s1"
    with pytest.raises(ValidationError):
        EnvStepRequest(sandbox_id="  ", action="up")


def test_models_convert_and_can_be_changed() -> None:
    request = EnvResetRequest(sandbox_id="s1", seed="42")  # type: ignore[arg-type]  # pydantic converts
    assert request.seed == 42
    response = EnvStepResponse(observation={"any": "thing"}, reward=1, terminated=False, truncated=False)
    response.info["more"] = 1
    assert response.model_dump()["info"] == {"more": 1}


def test_an_environment_steps_and_resets() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Env()  # type: ignore[abstract]  # that is the point
