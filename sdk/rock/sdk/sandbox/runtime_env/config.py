"""The form of any runtime environment, at ROCK's path."""

from rock._absent import absent_names
from rock._runtime_envs import RuntimeEnvConfig

__all__ = ["RuntimeEnvConfig"]

__getattr__ = absent_names(__name__)
