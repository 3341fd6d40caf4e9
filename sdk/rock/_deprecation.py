"""A mark of functions that are about to go."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["deprecated"]


def deprecated(reason: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Warn whoever calls a function that it is about to go."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
            said = f"{function.__name__} is deprecated. {reason}".rstrip()
            warnings.warn(said, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return call

    return decorate
