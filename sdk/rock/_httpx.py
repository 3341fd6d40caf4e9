"""Errors that are httpx's too, for callers who catch those: ROCK's client is made of httpx, this one is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from rock.wire.errors import (
    CommandTimeout,
    GatewayUnreachable,
    OutcomeUnknown,
    RockException,
    SandboxUnreachable,
)

__all__ = ["as_httpx"]

_COUNTERPARTS: dict[type[RockException], str] = {
    CommandTimeout: "ReadTimeout",
    GatewayUnreachable: "ConnectError",
    OutcomeUnknown: "ReadError",
    SandboxUnreachable: "ConnectError",
}


def as_httpx(error: RockException) -> RockException:
    """The error, as an instance of httpx's class as well if it has one there.

    Only where httpx has been imported already: nobody else can name its classes, and it takes long to import.
    """
    httpx = sys.modules.get("httpx")
    counterpart = _COUNTERPARTS.get(type(error))
    if httpx is None or counterpart is None:
        return error
    merged = _merge(type(error), getattr(httpx, counterpart))  # type: ignore[arg-type]  # a class is hashable
    twin: RockException = merged(error.message, error.code, reason=error.reason, details=error.details)
    return twin


@cache
def _merge(ours: type[RockException], theirs: type[Exception]) -> type[RockException]:
    def reduce(self: RockException) -> tuple[Any, ...]:
        # As our own class, which can be found by its name; it becomes both again where httpx is at hand.
        rebuild, (_, *rest) = ours.__reduce__(self)
        return _revive, (rebuild, (ours, *rest))

    body = {"__module__": __name__, "__doc__": ours.__doc__, "__reduce__": reduce}
    return type(ours.__name__, (ours, theirs), body)


def _revive(rebuild: Callable[..., RockException], arguments: tuple[Any, ...]) -> RockException:
    return as_httpx(rebuild(*arguments))
