"""`RockEnv`, at ROCK's path."""

from rock._envs import RockEnv

__all__ = ["RockEnv"]
