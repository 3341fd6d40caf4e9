"""Environments, at ROCK's path."""

from rock._env_actions import Env

__all__ = ["Env"]
