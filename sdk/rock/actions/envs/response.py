"""What environments answer, at ROCK's path."""

from rock._env_actions import EnvCloseResponse, EnvListResponse, EnvMakeResponse, EnvResetResponse, EnvStepResponse

__all__ = ["EnvCloseResponse", "EnvListResponse", "EnvMakeResponse", "EnvResetResponse", "EnvStepResponse"]
