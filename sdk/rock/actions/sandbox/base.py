"""What a sandbox can do, at ROCK's path."""

from rock._actions import AbstractSandbox, _ExceptionTransfer

__all__ = ["AbstractSandbox", "_ExceptionTransfer"]
