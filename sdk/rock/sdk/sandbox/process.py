"""`Sandbox.process`, at ROCK's path."""

from rock._process import Process

__all__ = ["Process"]
