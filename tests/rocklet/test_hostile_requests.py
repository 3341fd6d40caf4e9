"""Arbitrary requests, mutations and sequences of valid ones: a typed refusal or a success, never a fault or a hang."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock.wire.errors import CODES
from rock.wire.operations import OPERATIONS, Operation
from tests.rocklet.callers import Caller

pytestmark = pytest.mark.slow

_HANG = 20.0  # seconds
_SERVED = [each for each in OPERATIONS.values() if each.served_by == "rocklet"]
_BODIES = [each for each in _SERVED if each.carries == "json"]
_QUERIES = [each for each in _SERVED if each.carries != "json"]

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_not_text = _json.filter(lambda value: not isinstance(value, str | list))
_PATHS = ["/", "/proc/nonono/x", "", "x", "/dev/zero", "/dev/stdin", "/proc/1/mem", "/" + "n" * 300, "/\0", "/\ud800"]
_path = st.sampled_from(_PATHS)
# No letters but x: nothing that a shell could find to run.
_COMMANDS = ["true", "echo hi", "exit 3", "false", "set -u; $x", "kill -9 $$"]
_command = st.sampled_from(_COMMANDS) | st.text("x$(){}[]'\"`\\|&;<>!# \n", max_size=12)
_ENCODINGS = ["utf-8", "latin-1", "rot13", "utf-16", "idna", "punycode", "undefined", "x" * 60]
_ENV_NAMES = ["A", "PATH", "HOME", "TERM", "PS1", "BASH_ENV", "x=y"]
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "path": _path | _not_text,
    "cwd": _path | _not_text,
    "startup_source": st.lists(_path, max_size=2) | _not_text,
    "command": _command | st.lists(st.just("true") | st.text(max_size=5), max_size=3) | _not_text,
    "session": st.sampled_from(["a", "b", "default"]) | _json,
    "timeout": st.floats(0.01, 0.1) | _json,
    "startup_timeout": st.floats(0.5, 5) | _json,
    "grace": st.floats(0, 0.1) | _json,
    "encoding": st.sampled_from(_ENCODINGS) | _json,
    "user": st.sampled_from(["root", "nobody", "nope", "\ud800"]) | _json,
    "lease": st.floats(60, 600) | _json,
    "env": st.dictionaries(st.sampled_from(_ENV_NAMES), st.text(max_size=5)) | _json,
}
_LIMITED = {"timeout": 0.1}  # seconds: a program that waits for input must not hold the test


def _bodies(operation: Operation[Any, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Requests made of the operation's own fields, each valid, wrong or missing, and sometimes one it does not have."""
    known = {name: _VALUES.get(name, _json) for name in operation.request.__struct_fields__}
    fields = st.fixed_dictionaries({}, optional={**known, "surplus": _json})
    if "timeout" in known:
        fields = fields.map(lambda given: given if given.get("timeout") is not None else {**given, **_LIMITED})
    return fields


_calls = st.sampled_from(_BODIES).flatmap(lambda operation: st.tuples(st.just(operation), _bodies(operation)))
_queries = st.dictionaries(
    st.sampled_from(["offset", "length", "sha256", "mode", "surplus"]), st.text(max_size=8), max_size=3
)
_hypothesis = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


async def _send(caller: Caller, operation: Operation[Any, Any], body: bytes, **query: str) -> None:
    headers = {"Content-Type": "application/json"}
    async with asyncio.timeout(_HANG):
        url = operation.path
        async with caller.http.request(operation.method, url, data=body, params=query, headers=headers) as reply:
            said = await reply.read()
            assert reply.status < 500, (operation.name, body, said)
            if reply.status != 200:
                error = json.loads(said)
                assert error["code"] in CODES, (operation.name, body, said)
                assert error["message"]
                assert "Traceback" not in error["message"]


@_hypothesis
@given(operation=st.sampled_from(_BODIES), body=_json)
async def test_arbitrary_json(caller: Caller, operation: Operation[Any, Any], body: object) -> None:
    await _send(caller, operation, json.dumps(body).encode())


@_hypothesis
@given(operation=st.sampled_from(_BODIES), body=st.binary(max_size=50))
async def test_arbitrary_bytes(caller: Caller, operation: Operation[Any, Any], body: bytes) -> None:
    await _send(caller, operation, body)


@_hypothesis
@given(calls=st.lists(_calls, min_size=1, max_size=5))
async def test_mutations_and_sequences_of_valid_requests(
    bash: Caller, calls: list[tuple[Operation[Any, Any], dict[str, Any]]]
) -> None:
    for operation, body in calls:
        await _send(bash, operation, json.dumps(body).encode())


@_hypothesis
@given(
    operation=st.sampled_from(_QUERIES),
    query=_queries,
    path=st.sampled_from(["", "/mnt", "x", "/dev/zero", "/proc/nonono", "/proc/1/mem", "/" + "n" * 5000]),
)
async def test_arbitrary_queries(
    caller: Caller, operation: Operation[Any, Any], query: dict[str, str], path: str
) -> None:
    await _send(caller, operation, b"", **{**query, "path": path})
