"""Configurations, at ROCK's path."""

from rock._sandbox_config import BaseConfig, SandboxConfig, SandboxGroupConfig

__all__ = ["BaseConfig", "SandboxConfig", "SandboxGroupConfig"]
