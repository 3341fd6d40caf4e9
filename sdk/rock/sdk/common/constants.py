"""The modes of `Sandbox.arun`, at ROCK's path."""

from rock._absent import absent_names
from rock._requests import RunModeType

__all__ = ["RunModeType"]

__getattr__ = absent_names(__name__)
