"""What `Sandbox.network` makes faster, at ROCK's path."""

from rock._absent import absent_names
from rock._network import SpeedupType

__all__ = ["SpeedupType"]

__getattr__ = absent_names(__name__)
