import io
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import ClientTimeout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock.wire.errors import CODES, ErrorBody, RockException, from_body
from rock.wire.messages import RunRequest
from rock.wire.operations import CREATE_SANDBOX, CREATE_SESSION, OPERATIONS, RUN_IN_SESSION, Operation
from rock_nomad.gateway.auth import OpenDoor
from rock_nomad.gateway.dialects.native import Native
from rock_nomad.gateway.middleware import MAX_BODY
from rock_nomad.gateway.roles import Gate
from rock_nomad.gateway.server import add_routes, create_server
from tests.cluster import Cluster
from tests.gateways import Gateway, start_gateway
from tests.spoiling import anything, as_query, spoiled, valid_request

_TIMEOUT = ClientTimeout(total=120)  # seconds; a hang is a failure
_SETTINGS = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def test_a_gateway_that_could_not_serve_an_operation_does_not_start() -> None:
    app = create_server([Native()], OpenDoor(), is_open=True)
    with pytest.raises(ValueError, match="create_sandbox"):
        add_routes(app, [Native()], {}, {}, None, gate=Gate())  # type: ignore[arg-type]  # nothing is relayed


@pytest.fixture
async def gateway(embedded: Cluster) -> AsyncIterator[Gateway]:
    """A gateway whose sandboxes are mocks, so that whatever is created by accident costs nothing."""
    isolations = ["mock", "raw_exec"]
    async with start_gateway(embedded, default_isolation="mock", isolations=isolations) as gateway:
        yield gateway


async def _send(
    gateway: Gateway,
    method: str,
    path: str,
    *,
    body: object = None,
    query: Any = None,  # noqa: ANN401
    **headers: str,
) -> RockException | None:
    """The typed error of a request, or None; everything that is neither fails."""
    shown = {"Authorization": f"Bearer {gateway.key}", "Content-Type": "application/json"}
    shown.update({name.replace("_", "-"): value for name, value in headers.items()})
    data = body if isinstance(body, bytes | io.IOBase) or body is None else json.dumps(body).encode()
    async with gateway.session.request(
        method, gateway.url + path, data=data, params=query, headers=shown, timeout=_TIMEOUT
    ) as reply:
        said = await reply.read()
        if reply.status == 200:
            return None
        error = msgspec.json.decode(said, type=ErrorBody)
        assert 400 <= reply.status < 500, (reply.status, error)
        assert error.code in CODES
        assert error.message
        assert error.details["request_id"] == reply.headers["X-Request-ID"]
        return from_body(error, reply.status)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"spec": {"memroy": 1}}, "spec.memroy"),
        ({"spec": {"memory_bytes": -1}}, "spec.memory_bytes"),
        ({"spec": {"memory_bytes": "8g"}}, "spec.memory_bytes"),
        ({"spec": {"sandbox_id": "Not_An_Id"}}, "spec.sandbox_id"),
        ({"spec": {"gpus": 5000}}, "spec.gpus"),
        ({"spec": {"env": {"ROCKLET_TOKEN_SHA256": "x"}}}, "env.ROCKLET_TOKEN_SHA256"),
        ({"spec": {"isolation": "kata"}}, "isolation"),
        ({"hold": 21}, "hold"),
        ([], "$"),
        (b"{", "$"),
        (b"\xff", "$"),
        (b"[" * 100_000, "$"),
    ],
)
async def test_a_bad_create_names_field_value_and_remedy(gateway: Gateway, body: object, field: str) -> None:
    error = await _send(gateway, "POST", "/v1/sandboxes", body=body)
    assert error is not None
    assert (error.error, error.details["field"]) == ("invalid_request", field)
    assert set(error.details) >= {"field", "value", "expected"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/v1/sandboxes", {"Authorization": ""}, "unauthorized"),
        ("/v1/sandboxes", {"Authorization": "Bearer wrong"}, "unauthorized"),
        ("/v1/nowhere", {"Authorization": ""}, "unauthorized"),
        ("/v1/nowhere", {}, "route_not_found"),
        ("/v1/sandboxes/Not_An_Id", {}, "invalid_request"),
        ("/v1/sandboxes/a--b/rocklet", {}, "invalid_request"),
        ("/v1/sandboxes/%2e%2e%2fx", {}, "invalid_request"),
        ("/v1/sandboxes/unknown", {}, "sandbox_not_found"),
        ("/v1/sandboxes/unknown/sessions", {}, "sandbox_not_found"),
        (f"/v1/sandboxes/unknown/files?path={'%E2%82%AC' * 4096}", {}, "sandbox_not_found"),
        ("/v1/sandboxes?limit=0", {}, "invalid_request"),
        ("/v1/sandboxes?limit=1&limit=2", {}, "invalid_request"),
        ("/v1/sandboxes?colour=red", {}, "invalid_request"),
    ],
    ids=lambda part: str(part)[:40],
)
async def test_a_bad_question_is_typed(gateway: Gateway, path: str, headers: dict[str, str], code: str) -> None:
    error = await _send(gateway, "GET", path, **headers)
    assert error is not None
    assert error.error == code


@pytest.mark.slow
async def test_json_must_be_declared_as_such_so_that_no_web_page_can_send_it(gateway: Gateway) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        error = await _send(gateway, "POST", "/v1/sandboxes", body={}, Content_Type=kind)
        assert error is not None
        assert (error.error, error.details["field"]) == ("invalid_request", "Content-Type")


@pytest.mark.slow
async def test_a_body_beyond_the_limit_is_refused_before_it_is_read_whole(gateway: Gateway) -> None:
    error = await _send(gateway, "POST", "/v1/sandboxes", body=io.BytesIO(b" " * (MAX_BODY + 1)))
    assert error is not None
    assert (error.error, error.details["limit"]) == ("too_large", MAX_BODY)


_OPERATIONS = sorted(OPERATIONS.values(), key=lambda each: each.name)
_SPOILED = st.sampled_from(_OPERATIONS).flatmap(lambda each: st.tuples(st.just(each), spoiled(each)))


@pytest.mark.slow
@_SETTINGS
@given(call=_SPOILED)
async def test_whatever_is_asked_is_answered_or_refused_in_words(
    gateway: Gateway, call: tuple[Operation[Any, Any], dict[str, Any]]
) -> None:
    operation, request = call
    request.pop("hold", None)  # a valid one is a wait, not a fault
    await _ask(gateway, operation, request, sandbox_id="unknown")


@pytest.mark.slow
@_SETTINGS
@given(operation=st.sampled_from(_OPERATIONS), body=anything, kind=st.sampled_from(["json", "query"]))
async def test_arbitrary_json_at_every_place_is_refused_in_words(
    gateway: Gateway, operation: Operation[Any, Any], body: object, kind: str
) -> None:
    path = operation.gateway_path.replace("{sandbox_id}", "unknown")
    if kind == "json":
        await _send(gateway, operation.method, path, body=body)
    else:
        await _send(gateway, operation.method, path, query=[("q", json.dumps(body))])


@pytest.mark.slow
async def test_spoiled_calls_through_to_a_live_rocklet_are_refused_in_words(gateway: Gateway) -> None:
    created = await gateway.create(isolation="raw_exec")
    await gateway.call(CREATE_SESSION, sandbox_id=created.sandbox_id)
    relayed = [each for each in _OPERATIONS if each.served_by == "rocklet" and each.name != "close_rocklet"]

    @settings(_SETTINGS, max_examples=150)
    @given(data=st.data())
    def draw_all(data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(relayed))
        calls.append((operation, data.draw(spoiled(operation))))

    calls: list[tuple[Operation[Any, Any], dict[str, Any]]] = []
    draw_all()
    for operation, request in calls:
        await _ask(gateway, operation, {**request, **_BOUNDS.get(operation.name, {})}, sandbox_id=created.sandbox_id)
    seen = await gateway.call(RUN_IN_SESSION, RunRequest(command="echo alive"), sandbox_id=created.sandbox_id)
    assert seen.output == "alive\n"


_BOUNDS: dict[str, dict[str, Any]] = {
    "run_in_session": {"timeout": 1},
    "execute": {"timeout": 1},
    "renew_lease": {"lease": 600},
    "wait_process": {"hold": 0},
    "write_file": {"path": "relative"},
    "upload": {"path": "relative"},
}
"""What keeps a spoiled call that turns out valid from taking long or doing harm."""


async def _ask(gateway: Gateway, operation: Operation[Any, Any], request: dict[str, Any], *, sandbox_id: str) -> None:
    path = operation.gateway_path.replace("{sandbox_id}", sandbox_id)
    if operation.carries == "json":
        await _send(gateway, operation.method, path, body=request)
    else:
        await _send(gateway, operation.method, path, query=as_query(request))


def test_every_operation_has_a_valid_request_to_spoil() -> None:
    for operation in _OPERATIONS:
        msgspec.convert(valid_request(operation), operation.request)
    assert CREATE_SANDBOX in _OPERATIONS
