"""Whatever is sent to ROCK's calls, the answer is an envelope with a code of ROCK's."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from aiohttp import ClientTimeout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock_nomad.gateway.dialects.rock import sandboxes, sessions
from rock_nomad.gateway.dialects.rock.calls import PREFIX, RockCall
from tests.cluster import Cluster
from tests.gateways import Gateway, start_gateway
from tests.spoiling import anything, as_query

pytestmark = pytest.mark.slow

CALLS = [*sandboxes.CALLS, *sessions.CALLS]
_SETTINGS = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
_REMEDY = re.compile(
    "(is .*; it must be|is missing; send|is wrong: each must be|; the fields here are|; send a) .", re.DOTALL
)
"""What a complaint about a field, and its value, ends in."""
_VALID = {"sandbox_id": "unknown", "command": "true", "path": "/tmp/nothing-of-that-name", "content": "text"}


@pytest.fixture
async def gateway(embedded: Cluster) -> AsyncIterator[Gateway]:
    """A gateway whose sandboxes are mocks, so that whatever is started by accident costs nothing."""
    async with start_gateway(embedded, default_isolation="mock") as gateway:
        yield gateway


async def _send(gateway: Gateway, call: RockCall[Any], said: Any) -> dict[str, Any]:  # noqa: ANN401 - arbitrary JSON
    """The envelope, which is whole whatever was sent."""
    is_query = call.method == "GET"
    async with gateway.session.request(
        call.method,
        gateway.url + PREFIX + re.sub(r"\{[^}]*\}", "unknown", call.path),
        params=as_query(said) if is_query else None,
        data=None if is_query else said if isinstance(said, bytes) else json.dumps(said).encode(),
        headers={"X-API-Key": gateway.key, "Content-Type": "application/json"},
        timeout=ClientTimeout(total=30),
    ) as reply:
        assert reply.status == 200
        answer: dict[str, Any] = await reply.json()
    assert set(answer) == {"status", "message", "error", "result"}
    if answer["status"] != "Success":
        assert answer["error"]
        assert answer["result"]["code"] in (4000, 5000, 6000)
        assert "fault of its own" not in answer["error"]
    if answer["message"] == "invalid parameter":
        assert answer["result"]["code"] == 4000
        assert _REMEDY.search(answer["error"]), answer["error"]
    return answer


@st.composite
def _spoiled(draw: st.DrawFn, calls: Sequence[RockCall[Any]]) -> tuple[RockCall[Any], dict[str, Any]]:
    """A call, and a body for it in which one to three fields have become anything."""
    call = draw(st.sampled_from(calls))
    assert call.request is not None
    names = [field.name for field in msgspec.structs.fields(call.request)]
    body: dict[str, Any] = {name: value for name, value in _VALID.items() if name in names}
    for _ in range(draw(st.integers(1, 3))):
        body[draw(st.sampled_from([*names, "invented"]) | st.text(max_size=8))] = draw(anything)
    return call, body


async def test_a_spoiled_call_is_answered_in_the_envelope(gateway: Gateway) -> None:
    examples: list[tuple[RockCall[Any], dict[str, Any]]] = []

    @_SETTINGS
    @given(_spoiled([each for each in CALLS if each.request is not None]))
    def collect(example: tuple[RockCall[Any], dict[str, Any]]) -> None:
        examples.append(example)

    collect()
    for call, body in examples:
        await _send(gateway, call, body)


async def test_a_spoiled_call_about_a_sandbox_that_lives_is_never_the_clusters_fault(embedded: Cluster) -> None:
    examples: list[tuple[RockCall[Any], dict[str, Any]]] = []

    @_SETTINGS
    @given(_spoiled([each for each in sessions.CALLS if each.request is not None]))
    def collect(example: tuple[RockCall[Any], dict[str, Any]]) -> None:
        examples.append(example)

    collect()
    async with start_gateway(embedded) as gateway:
        status = await gateway.create(memory_bytes=2**30)
        session = next(each for each in sessions.CALLS if each.path == "/create_session")
        await _send(gateway, session, {"sandbox_id": status.sandbox_id})
        for call, body in examples:
            if call.path in ("/run_in_session", "/execute"):
                body.setdefault("timeout", 5)
            if body.get("sandbox_id") == _VALID["sandbox_id"]:
                body["sandbox_id"] = status.sandbox_id
            answer = await _send(gateway, call, body)
            assert answer["status"] == "Success" or answer["result"]["code"] in (4000, 6000), (call.path, body, answer)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b"3", b'"x"', b"[" * 100_000])
async def test_what_is_no_json_object_is_answered_in_the_envelope(gateway: Gateway, body: bytes) -> None:
    for call in CALLS:
        if call.method == "POST":
            await _send(gateway, call, body)


async def test_json_must_be_declared_as_such_so_that_no_web_page_can_send_it(gateway: Gateway) -> None:
    headers = {"X-API-Key": gateway.key, "Content-Type": "text/plain"}
    async with gateway.session.post(f"{gateway.url}{PREFIX}/stop", data=b"{}", headers=headers) as reply:
        said = await reply.json()
    assert (said["message"], said["result"]["code"]) == ("invalid parameter", 4000)
    assert "Content-Type" in said["error"]


def test_no_two_calls_share_a_place() -> None:
    assert len({(call.method, call.path) for call in CALLS}) == len(CALLS)
