"""How long something took, and a limit to it."""

from __future__ import annotations

import functools
import inspect
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

__all__ = ["StageTimer", "Timer", "timeout", "with_time_logging"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Timer:
    """Prints how long its block took."""

    def __init__(self, description: str = "Execution") -> None:
        self.description = description
        self.start_time = 0.0

    def __enter__(self) -> Timer:
        self.start_time = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        print(f"{self.description} took {time.perf_counter() - self.start_time:.3f} s")


class StageTimer:
    """Logs how long its block took."""

    def __init__(self, phase: str, description: str, logger: logging.Logger) -> None:
        self._phase, self._description, self._logger = phase, description, logger
        self._begun = 0.0

    def __enter__(self) -> StageTimer:
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        elapsed = time.perf_counter() - self._begun
        self._logger.info("[%s] %s took %.3f s", self._phase, self._description, elapsed)


def with_time_logging(operation_name: str) -> Callable[[_F], _F]:
    """Log how long each call of a function took, or how it failed; under the logger of the function's module."""

    def decorate(function: _F) -> _F:
        logger = logging.getLogger(function.__module__)

        @contextmanager
        def logged() -> Iterator[None]:
            begun = time.perf_counter()
            logger.debug("%s started", operation_name)
            try:
                yield
            except Exception:
                logger.exception("%s failed (elapsed: %.2fs)", operation_name, time.perf_counter() - begun)
                raise
            logger.info("%s completed (elapsed: %.2fs)", operation_name, time.perf_counter() - begun)

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
            with logged():
                return await function(*args, **kwargs)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - likewise
            with logged():
                return function(*args, **kwargs)

        return call_async if inspect.iscoroutinefunction(function) else call  # type: ignore[return-value]  # called alike

    return decorate


@contextmanager
def timeout(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer.  By SIGALRM, so in the main thread alone."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"timeout({seconds} seconds)")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
