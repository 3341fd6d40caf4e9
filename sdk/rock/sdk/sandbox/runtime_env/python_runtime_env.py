"""The form of a Python, at ROCK's path."""

from rock._absent import absent_names
from rock._runtime_envs import PythonRuntimeEnvConfig

__all__ = ["PythonRuntimeEnvConfig"]

__getattr__ = absent_names(__name__)
