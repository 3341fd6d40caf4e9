"""ROCK's marks around a process id, at ROCK's path."""

from rock._absent import absent_names
from rock._nohup import PID_PREFIX, PID_SUFFIX

__all__ = ["PID_PREFIX", "PID_SUFFIX"]

__getattr__ = absent_names(__name__)
