"""Sizes, at ROCK's path."""

from rock._absent import absent_names
from rock._formats import convert_to_gb, parse_size_to_bytes

__all__ = ["convert_to_gb", "parse_size_to_bytes"]

__getattr__ = absent_names(__name__)
