"""A type of fields, at ROCK's path."""

from rock._env_actions import NonBlankStr

__all__ = ["NonBlankStr"]
