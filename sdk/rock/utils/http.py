"""Waiting for a server, at ROCK's path."""

from rock._absent import absent_names
from rock._retries import wait_until_alive

__all__ = ["wait_until_alive"]

__getattr__ = absent_names(__name__)
