"""Dialects: the same operations on different clients' wires.

A dialect says at which paths an operation is found, how its request is read and how its result or error is written.
It waits for nothing, retries nothing and keeps nothing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
from aiohttp import web

from rock.wire.errors import RockException
from rock.wire.operations import Operation
from rock_nomad.gateway.body import Body
from rock_nomad.gateway.roles import Duty

__all__ = ["Codec", "Dialect", "Endpoint", "Perform", "Route", "dialect_of", "merge_slashes"]

_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)


class Codec(Protocol):
    """How an operation's request is read and its result written."""

    async def decode(self, operation: Operation[Any, Any], request: web.Request) -> msgspec.Struct:
        """The operation's request, as this wire says it.

        Raises InvalidRequest, TooLarge: fix the request.
        """
        ...

    def encode(self, operation: Operation[Any, Any], result: msgspec.Struct) -> web.Response:
        """The operation's result on this wire."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where an operation is found as it is: what a rocklet serves passes as bytes."""

    method: str
    path: str
    operation: Operation[Any, Any]
    codec: Codec


class Perform(Protocol):
    """Performs any operation for the caller of the request being served."""

    async def __call__(
        self, operation: Operation[_Req, _Res], request: _Req, *, sandbox_id: str = "", body: Body | None = None
    ) -> _Res:
        """The operation's result; `body` is what an upload carries.

        Raises RockException.
        """
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A call of another wire, which is said in operations of ours."""

    method: str
    path: str
    duty: Duty
    answer: Callable[[web.Request, Perform], Awaitable[web.StreamResponse]]


class Dialect(Protocol):
    """One client's wire."""

    prefix: str
    """Every path that begins with it is this dialect's, and so are the errors there."""

    def routes(self) -> Iterable[Route | Endpoint]:
        """Everything that it offers, each at its place."""
        ...

    def encode_error(self, error: RockException, status: int, request_id: str) -> web.Response:
        """An error on this wire."""
        ...


def dialect_of(dialects: Sequence[Dialect], path: str) -> Dialect:
    """Whose path it is: that of the longest prefix.  One of them has the empty one."""
    path = merge_slashes(path)
    return max((dialect for dialect in dialects if path.startswith(dialect.prefix)), key=lambda each: len(each.prefix))


def merge_slashes(path: str) -> str:
    """A path whose slashes are single: clients make `//apis/...` of an address that ends in a slash."""
    return re.sub(r"/{2,}", "/", path)
