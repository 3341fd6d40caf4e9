"""`make`, at ROCK's path."""

from rock._envs import make

__all__ = ["make"]
