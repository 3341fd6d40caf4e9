"""A mark of what will go, at ROCK's path."""

from rock._absent import absent_names
from rock._deprecation import deprecated

__all__ = ["deprecated"]

__getattr__ = absent_names(__name__)
