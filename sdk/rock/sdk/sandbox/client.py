"""`Sandbox`, at ROCK's path."""

from rock._group import SandboxGroup
from rock._requests import RunMode
from rock._sandbox import Sandbox

__all__ = ["RunMode", "Sandbox", "SandboxGroup"]
