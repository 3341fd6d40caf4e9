"""What a replica serves: everything, the write path alone, or the read path alone.

Apart they fail and scale apart: the read path asks Nomad next to nothing, and moves all the bytes.
"""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web
from aiohttp.typedefs import Handler

from rock.wire.errors import RouteNotFound
from rock.wire.operations import GET_CLUSTER, RESOLVE_ROCKLET, Operation
from rock_nomad.config import Role

__all__ = ["Duty", "Gate", "duty_of"]

Duty = Literal["write", "read", "both"]
"""Whose a route is: `write` makes, ends and lists sandboxes by Nomad; `read` reaches into one."""


def duty_of(operation: Operation[Any, Any]) -> Duty:
    """Whose an operation is."""
    if operation is GET_CLUSTER:
        return "both"
    return "read" if operation.served_by == "rocklet" or operation is RESOLVE_ROCKLET else "write"


class Gate:
    """Lets through what a replica of some role serves, and says of the rest who does."""

    def __init__(self, role: Role = "all", elsewhere: str | None = None) -> None:
        self._role, self._elsewhere = role, elsewhere

    def guard(self, duty: Duty, handler: Handler) -> Handler:
        """A route's handler, or one that refuses every request."""
        return handler if self._role == "all" or duty in (self._role, "both") else self._refuse

    async def _refuse(self, request: web.Request) -> web.StreamResponse:
        other: Role = "write" if self._role == "read" else "read"
        where = f" at {self._elsewhere}" if self._elsewhere else ""
        raise RouteNotFound(
            f"this gateway serves the {self._role} path alone; send {request.method} {request.path} to one of the "
            f"role {other} or all{where}",
            details={"role": self._role, "expected": other, **({"url": self._elsewhere} if self._elsewhere else {})},
        )
