"""Configurations of runtimes, at ROCK's path."""

from rock._actions import RemoteSandboxRuntimeConfig, RockletConfig, SandboxRuntimeConfig

__all__ = ["RemoteSandboxRuntimeConfig", "RockletConfig", "SandboxRuntimeConfig"]
