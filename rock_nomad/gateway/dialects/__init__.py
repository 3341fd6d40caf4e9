"""Dialects: the same operations on different clients' wires.

A dialect says at which paths an operation is found, how its request is read and how its result or error is written.
It waits for nothing, retries nothing and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from aiohttp import web

from rock.wire.errors import RockException
from rock.wire.operations import Operation

__all__ = ["Dialect", "Route", "dialect_of"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where an operation is found."""

    method: str
    path: str
    operation: Operation[Any, Any]


class Dialect(Protocol):
    """One client's wire."""

    prefix: str
    """Every path that begins with it is this dialect's, and so are the errors there."""

    def routes(self) -> Iterable[Route]:
        """Every operation it offers, each at its place."""
        ...

    async def decode(self, operation: Operation[Any, Any], request: web.Request) -> msgspec.Struct:
        """The operation's request, as this wire says it.

        Raises InvalidRequest, TooLarge: fix the request.
        """
        ...

    def encode(self, operation: Operation[Any, Any], result: msgspec.Struct) -> web.Response:
        """The operation's result on this wire."""
        ...

    def encode_error(self, error: RockException, status: int, request_id: str) -> web.Response:
        """An error on this wire."""
        ...


def dialect_of(dialects: Sequence[Dialect], path: str) -> Dialect:
    """Whose path it is: that of the longest prefix.  One of them has the empty one."""
    return max((dialect for dialect in dialects if path.startswith(dialect.prefix)), key=lambda each: len(each.prefix))
