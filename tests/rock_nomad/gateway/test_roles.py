from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from rock.wire.errors import RouteNotFound
from rock.wire.messages import ExecuteRequest
from rock.wire.operations import (
    CREATE_SANDBOX,
    DELETE_SANDBOX,
    EXECUTE,
    GET_CLUSTER,
    GET_SANDBOX,
    LIST_SANDBOXES,
    LIST_SESSIONS,
    OPERATIONS,
    PLAN_SANDBOX,
    READ_LOG,
    RENDER_JOB,
    RESOLVE_ROCKLET,
    STOP_SANDBOX,
    Operation,
)
from rock.wire.tunnels import PORT_HEADER
from rock_nomad.config import Role
from rock_nomad.gateway.roles import Duty, Gate, duty_of
from tests.cluster import Cluster
from tests.gateways import Gateway, serve_in, start_gateway

WRITES = [CREATE_SANDBOX, GET_SANDBOX, LIST_SANDBOXES, STOP_SANDBOX, DELETE_SANDBOX, READ_LOG, RENDER_JOB, PLAN_SANDBOX]


def test_every_operation_is_one_paths_or_both() -> None:
    by_duty: dict[Duty, list[str]] = {"write": [], "read": [], "both": []}
    for operation in OPERATIONS.values():
        by_duty[duty_of(operation)].append(operation.name)
    assert by_duty["write"] == [each.name for each in OPERATIONS.values() if each in WRITES]
    assert by_duty["both"] == [GET_CLUSTER.name]
    read = {each.name for each in OPERATIONS.values() if each.served_by == "rocklet"} | {RESOLVE_ROCKLET.name}
    assert set(by_duty["read"]) == read


@pytest.mark.parametrize(
    ("role", "served"),
    [("all", {"write", "read", "both"}), ("write", {"write", "both"}), ("read", {"read", "both"})],
)
def test_a_role_serves_its_path_and_what_is_both(role: Role, served: set[Duty]) -> None:
    async def handler(_request: web.Request) -> web.StreamResponse:
        raise AssertionError("only compared")

    duties: list[Duty] = ["write", "read", "both"]
    assert {duty for duty in duties if Gate(role).guard(duty, handler) is handler} == served


@dataclass(frozen=True)
class Pair:
    """Two replicas of one cluster, each with its path."""

    writer: Gateway
    reader: Gateway


@pytest.fixture
async def pair(cluster: Cluster) -> AsyncIterator[Pair]:
    name = f"t{secrets.token_hex(4)}"
    async with start_gateway(cluster, name=name, settings={"role": "write"}) as writer:
        settings = {"role": "read", "elsewhere": writer.url}
        async with start_gateway(cluster, name=name, settings=settings, keep=True) as reader:
            yield Pair(writer, reader)


@pytest.mark.slow
async def test_two_replicas_of_one_path_each_are_a_gateway_together(pair: Pair) -> None:
    created = await pair.writer.create()
    ran = await pair.reader.call(EXECUTE, ExecuteRequest(command=["echo", "hi"]), sandbox_id=created.sandbox_id)
    assert ran.stdout == "hi\n"
    for gateway in (pair.writer, pair.reader):
        assert (await gateway.call(GET_CLUSTER)).name
        async with gateway.session.get(f"{gateway.url}/health") as reply:
            assert reply.status == 200
    port = await serve_in(pair.reader, created.sandbox_id)
    headers = {"Authorization": "Bearer key-a"}
    path = f"/v1/sandboxes/{created.sandbox_id}/ports/{port}/"
    async with pair.reader.session.get(f"{pair.reader.url}{path}", headers=headers) as reply:
        assert reply.headers[PORT_HEADER] == str(port)
    async with pair.writer.session.get(f"{pair.writer.url}{path}", headers=headers) as reply:
        assert (reply.status, (await reply.json())["code"]) == (404, "route_not_found")


@pytest.mark.slow
@pytest.mark.parametrize("operation", [*WRITES, LIST_SESSIONS, RESOLVE_ROCKLET], ids=lambda each: each.name)
async def test_what_is_the_other_paths_is_refused_with_the_place_to_go(
    pair: Pair, operation: Operation[Any, Any]
) -> None:
    asked = pair.reader if operation in WRITES else pair.writer
    with pytest.raises(RouteNotFound) as caught:
        await asked.call(operation, sandbox_id="unknown")
    other = "write" if operation in WRITES else "read"
    assert f"one of the role {other} or all" in caught.value.message
    assert caught.value.details["expected"] == other
    assert caught.value.details.get("url") == (pair.writer.url if operation in WRITES else None)


@pytest.mark.slow
async def test_rocks_clients_are_told_in_rocks_words(pair: Pair) -> None:
    headers = {"Authorization": "Bearer key-a", "Content-Type": "application/json"}
    for gateway, call in ((pair.reader, "start_async"), (pair.writer, "run_in_session")):
        url = f"{gateway.url}/apis/envs/sandbox/v1/{call}"
        async with gateway.session.post(url, headers=headers, data=b"{}") as reply:
            said = await reply.json()
        assert (reply.status, said["status"]) == (404, "Failed")
        assert "this gateway serves the" in str(said)
