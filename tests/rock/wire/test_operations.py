import re

import pytest

from rock.wire.operations import OPERATIONS, PREFIX, Operation


def test_no_two_operations_share_a_route() -> None:
    at_gateway = [(op.method, op.gateway_path) for op in OPERATIONS.values()]
    at_rocklet = [(op.method, op.path) for op in OPERATIONS.values() if op.served_by == "rocklet"]
    assert len(at_gateway) == len(set(at_gateway))
    assert len(at_rocklet) == len(set(at_rocklet))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.name)
def test_every_operation_is_whole(operation: Operation) -> None:  # type: ignore[type-arg] # any operation
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation.name)
    assert operation.path.startswith(PREFIX) or operation.is_open
    assert (operation.carries == "query") == (operation.method in {"GET", "DELETE"} and operation.carries != "download")
    assert ("{sandbox_id}" in operation.gateway_path) or operation.served_by == "gateway"


def test_what_the_rocklet_serves_stands_under_the_sandbox_at_a_gateway() -> None:
    assert OPERATIONS["run_in_session"].gateway_path == "/v1/sandboxes/{sandbox_id}/sessions/run"
    assert OPERATIONS["is_alive"].gateway_path == "/v1/sandboxes/{sandbox_id}/is_alive"
    assert OPERATIONS["get_sandbox"].gateway_path == "/v1/sandboxes/{sandbox_id}"
