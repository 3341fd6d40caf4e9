"""Trying again, at ROCK's path."""

from rock._absent import absent_names
from rock._retries import retry_async

__all__ = ["retry_async"]

__getattr__ = absent_names(__name__)
