"""`make` and `RockEnv`, at ROCK's path."""

from rock._envs import RockEnv, make

__all__ = ["RockEnv", "make"]
