"""The form of a Node.js, at ROCK's path."""

from rock._absent import absent_names
from rock._runtime_envs import NodeRuntimeEnvConfig

__all__ = ["NodeRuntimeEnvConfig"]

__getattr__ = absent_names(__name__)
