"""Forms of runtime environments, at ROCK's path."""

from rock._absent import absent_names
from rock._runtime_envs import NodeRuntimeEnvConfig, PythonRuntimeEnvConfig, RuntimeEnvConfig, RuntimeEnvConfigType

__all__ = ["NodeRuntimeEnvConfig", "PythonRuntimeEnvConfig", "RuntimeEnvConfig", "RuntimeEnvConfigType"]

__getattr__ = absent_names(__name__)
