"""`Sandbox.deploy`, at ROCK's path."""

from rock._deploy import Deploy

__all__ = ["Deploy"]
