"""`Sandbox.network`, at ROCK's path."""

from rock._network import Network

__all__ = ["Network"]
