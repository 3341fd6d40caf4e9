"""What `Sandbox.network` makes faster, at ROCK's path."""

from rock._network import SpeedupType

__all__ = ["SpeedupType"]
