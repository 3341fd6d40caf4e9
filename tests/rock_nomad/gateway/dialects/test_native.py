import json

import pytest
from aiohttp.test_utils import make_mocked_request

from rock.wire.errors import InvalidRequest, SandboxEnded, Unauthorized
from rock.wire.messages import Empty, ListSandboxesRequest, State
from rock.wire.operations import CREATE_SANDBOX, GET_CLUSTER, LIST_SANDBOXES, OPERATIONS, RUN_IN_SESSION
from rock.wire.reasons import Reason
from rock_nomad.gateway.dialects import dialect_of
from rock_nomad.gateway.dialects.native import Native


def test_every_operation_has_its_place() -> None:
    places = {route.operation.name: (route.method, route.path) for route in Native().routes()}
    assert set(places) == set(OPERATIONS)
    assert places[RUN_IN_SESSION.name] == ("POST", "/v1/sandboxes/{sandbox_id}/sessions/run")


def test_no_two_operations_share_a_place() -> None:
    places = [(route.method, route.path) for route in Native().routes()]
    assert len(set(places)) == len(places)


async def test_a_query_is_read_into_the_request() -> None:
    request = make_mocked_request("GET", "/v1/sandboxes?state=running&label=a%3Db&label=c%3Dd&limit=3")
    wanted = await Native().decode(LIST_SANDBOXES, request)
    assert wanted == ListSandboxesRequest(state=State.RUNNING, label=["a=b", "c=d"], limit=3)


async def test_a_field_that_stands_where_nobody_looks_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="query string"):
        await Native().decode(CREATE_SANDBOX, make_mocked_request("POST", "/v1/sandboxes?hold=3"))


def test_an_error_says_its_reason_and_its_request() -> None:
    response = Native().encode_error(SandboxEnded("it was idle", reason=Reason.IDLE), 410, "r1")
    assert response.status == 410
    assert json.loads(response.body) == {  # type: ignore[arg-type]  # a Response of ours has bytes
        "code": "sandbox_ended",
        "message": "it was idle",
        "retryable": False,
        "reason": "idle",
        "details": {"request_id": "r1"},
    }


def test_who_must_show_a_key_is_told_how() -> None:
    assert Native().encode_error(Unauthorized("no key"), 401, "r1").headers["WWW-Authenticate"] == "Bearer"


def test_a_result_is_json() -> None:
    response = Native().encode(GET_CLUSTER, Empty())
    assert (response.status, response.content_type, response.body) == (200, "application/json", b"{}")


@pytest.mark.parametrize("path", ["/", "/v1/sandboxes", "/nothing"])
def test_every_path_has_a_dialect(path: str) -> None:
    native = Native()
    assert dialect_of([native], path) is native
