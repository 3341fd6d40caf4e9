"""What coroutines share, at ROCK's path."""

from rock._absent import absent_names
from rock._portal import run_until_complete
from rock._shared import MAX_WORKERS, AsyncAtomicInt, AsyncSafeDict, K, V, get_executor
from rock._timing import StageTimer, Timer, timeout

__all__ = [
    "MAX_WORKERS",
    "AsyncAtomicInt",
    "AsyncSafeDict",
    "K",
    "StageTimer",
    "Timer",
    "V",
    "get_executor",
    "run_until_complete",
    "timeout",
]

__getattr__ = absent_names(__name__)
