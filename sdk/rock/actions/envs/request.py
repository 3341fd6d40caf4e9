"""Requests to environments, at ROCK's path."""

from rock._env_actions import EnvCloseRequest, EnvMakeRequest, EnvResetRequest, EnvStepRequest

__all__ = ["EnvCloseRequest", "EnvMakeRequest", "EnvResetRequest", "EnvStepRequest"]
