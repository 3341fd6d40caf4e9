"""Commands that are worth another try, at ROCK's path."""

from rock._absent import absent_names
from rock._retries import arun_with_retry
from rock._timing import with_time_logging

__all__ = ["arun_with_retry", "with_time_logging"]

__getattr__ = absent_names(__name__)
