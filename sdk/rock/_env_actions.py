"""What travels to an environment and back on ROCK's wire: mutable pydantic models with rl-rock's fields and defaults.

Source: rl-rock 1.11, `rock/actions/envs/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

__all__ = [
    "Env",
    "EnvCloseRequest",
    "EnvCloseResponse",
    "EnvListResponse",
    "EnvMakeRequest",
    "EnvMakeResponse",
    "EnvResetRequest",
    "EnvResetResponse",
    "EnvStepRequest",
    "EnvStepResponse",
    "NonBlankStr",
]

NonBlankStr = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A text other than white space, which goes at both ends."""


class Env(ABC):
    """An environment."""

    @abstractmethod
    def step(self, action: Any) -> Any:  # noqa: ANN401 - the environment's
        """Act; what is seen then."""

    @abstractmethod
    def reset(self, seed: int | None = None) -> Any:  # noqa: ANN401 - the environment's
        """Start an episode; what is seen then."""


class EnvMakeRequest(BaseModel):
    """An environment to make."""

    env_id: str
    sandbox_id: NonBlankStr


class EnvResetRequest(BaseModel):
    """An episode to start."""

    sandbox_id: NonBlankStr
    seed: int | None = None


class EnvStepRequest(BaseModel):
    """An action to take."""

    sandbox_id: NonBlankStr
    action: str


class EnvCloseRequest(BaseModel):
    """An environment to close."""

    sandbox_id: NonBlankStr


class EnvMakeResponse(BaseModel):
    """An environment was made."""

    sandbox_id: str


class EnvResetResponse(BaseModel):
    """An episode was started."""

    observation: Any
    info: dict[Any, Any] = Field(default_factory=dict)


class EnvStepResponse(BaseModel):
    """What an action has led to."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[Any, Any] = Field(default_factory=dict)


class EnvCloseResponse(BaseModel):
    """An environment was closed."""

    sandbox_id: str


class EnvListResponse(BaseModel):
    """The environments that can be made."""

    env_id: list[str]
