"""Requests made from the wire's own structs: a valid one for each operation, and strategies that spoil it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st

from rock.wire.operations import Operation
from rock.wire.spec import SandboxSpec

__all__ = ["anything", "as_query", "spoiled", "valid_request"]

_REQUIRED: dict[str, object] = {
    "env_id": "game:Nothing-of-that-name-v0",
    "action": "\\boxed{up}",
    "command": "true",
    "pid": 2**30,  # beyond what Linux gives
    "path": "/tmp/nothing-of-that-name",
    "content": "text",
    "request_id": "of-nobody",
    "command_id": "of-nobody",
    "signal": 15,
}
"""Values for the fields that have no default."""

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "\x00", "../..", "${x}", "-1", "1e999", "😀", "a" * 300])
)
anything = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
"""Any JSON value."""


def valid_request(operation: Operation[Any, Any]) -> dict[str, Any]:
    """A request that the operation takes."""
    fields = msgspec.structs.fields(operation.request)
    return {field.name: _REQUIRED[field.name] for field in fields if field.required}


@st.composite
def spoiled(draw: st.DrawFn, operation: Operation[Any, Any]) -> dict[str, Any]:
    """A valid request in which one to three fields, its own or invented, have become anything."""
    request = valid_request(operation)
    for _ in range(draw(st.integers(1, 3))):
        where = request
        names = _names(operation.request)
        if "spec" in names and draw(st.booleans()):
            given = request.get("spec")
            where = request["spec"] = dict(given) if isinstance(given, Mapping) else {}
            names = _names(SandboxSpec)
        name = draw(st.sampled_from(names) | st.text(max_size=8)) if names else draw(st.text(max_size=8))
        where[name] = draw(anything)
    return request


def _names(kind: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(kind)]


def as_query(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A request as a query string says it, as well as it can."""
    pairs = []
    for name, value in request.items():
        for each in value if isinstance(value, list) else [value]:
            pairs.append((name, each if isinstance(each, str) else json.dumps(each)))
    return pairs
