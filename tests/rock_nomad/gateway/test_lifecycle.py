import asyncio
import contextlib
import secrets
from typing import Any

import pytest

from rock.wire.errors import (
    IdInUse,
    InvalidRequest,
    OutcomeUnknown,
    SandboxDied,
    SandboxEnded,
    SandboxNotFound,
    StartFailed,
)
from rock.wire.messages import (
    CreateSandboxRequest,
    ExecuteRequest,
    GetSandboxRequest,
    ListSandboxesRequest,
    RunRequest,
    State,
)
from rock.wire.operations import (
    CREATE_SANDBOX,
    CREATE_SESSION,
    DELETE_SANDBOX,
    EXECUTE,
    GET_CLOCKS,
    GET_SANDBOX,
    LIST_SANDBOXES,
    OPERATIONS,
    RESOLVE_ROCKLET,
    RUN_IN_SESSION,
    STOP_SANDBOX,
    Operation,
)
from rock.wire.reasons import Reason
from tests.cluster import Cluster
from tests.gateways import Gateway, small, start_gateway

pytestmark = pytest.mark.slow


def _id() -> str:
    return f"t{secrets.token_hex(6)}"


async def test_a_sandbox_lives_from_create_to_delete(gateway: Gateway) -> None:
    created = await gateway.create(labels={"run": "7"})
    sandbox_id = created.sandbox_id
    assert (created.state, created.observed_by, created.labels) == (State.RUNNING, "rocklet", {"run": "7"})
    assert created.deadlines.idle is not None
    await gateway.call(CREATE_SESSION, sandbox_id=sandbox_id)
    seen = await gateway.call(RUN_IN_SESSION, RunRequest(command="echo $((6 * 7))"), sandbox_id=sandbox_id)
    assert (seen.output, seen.exit_code) == ("42\n", 0)

    stopped = await gateway.call(STOP_SANDBOX, sandbox_id=sandbox_id)
    assert (stopped.state, stopped.reason) == (State.STOPPED, Reason.USER)
    assert (await gateway.call(STOP_SANDBOX, sandbox_id=sandbox_id)).state is State.STOPPED
    with pytest.raises(SandboxEnded) as caught:
        await gateway.call(RUN_IN_SESSION, RunRequest(command="true"), sandbox_id=sandbox_id)
    assert caught.value.reason is Reason.USER

    await gateway.call(DELETE_SANDBOX, sandbox_id=sandbox_id)
    with pytest.raises(SandboxNotFound):
        await gateway.call(GET_SANDBOX, sandbox_id=sandbox_id)


@pytest.mark.parametrize("number", ["TERM", "KILL"])
async def test_a_rocklet_that_is_killed_from_inside_is_the_commands_own_doing(
    gateway: Gateway, cluster: Cluster, number: str
) -> None:
    sandbox_id = (await gateway.create()).sandbox_id
    suicide = ExecuteRequest(command=["sh", "-c", f"kill -{number} $PPID; sleep 60"])
    with contextlib.suppress(OutcomeUnknown, SandboxDied):  # or an answer, if it came in time
        await gateway.call(EXECUTE, suicide, sandbox_id=sandbox_id)
    path, ends = f"/v1/job/sbx-{sandbox_id}/allocations", ("complete", "failed")
    await asyncio.to_thread(cluster.wait_for, path, lambda rows: rows[0]["ClientStatus"] in ends)
    ended = await gateway.call(GET_SANDBOX, sandbox_id=sandbox_id)
    assert (ended.state, ended.reason) == (State.STOPPED, Reason.EXITED)


async def test_creating_an_id_twice_yields_one_sandbox(gateway: Gateway) -> None:
    sandbox_id = _id()
    first, second = await asyncio.gather(gateway.create(sandbox_id), gateway.create(sandbox_id))
    assert first.alloc_id == second.alloc_id
    await gateway.call(STOP_SANDBOX, sandbox_id=sandbox_id)
    assert (await gateway.create(sandbox_id)).state is State.STOPPED


@pytest.mark.parametrize(("key", "cpus"), [("key-a", 0.2), ("key-b", 0.1)], ids=["other spec", "other tenant"])
async def test_an_id_in_use_is_refused_for_anything_else(gateway: Gateway, key: str, cpus: float) -> None:
    sandbox_id = _id()
    await gateway.create(sandbox_id, hold=0)
    with pytest.raises(IdInUse) as caught:
        await gateway.create(sandbox_id, key=key, cpus=cpus, hold=0)
    assert caught.value.details["field"] == "sandbox_id"


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Request-ID"])
async def test_a_create_that_is_sent_again_after_a_cut_connection_yields_one_sandbox(
    gateway: Gateway, header: str
) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    once = _id()
    body = b'{"spec":{"cpus":0.1,"memory_bytes":67108864}}'
    request = (
        f"POST /v1/sandboxes HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {gateway.key}\r\n{header}: {once}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(3):
        _reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode() + body)
        await writer.drain()
        writer.transport.abort()
    async with gateway.session.post(
        f"{gateway.url}/v1/sandboxes",
        data=body,
        headers={"X-API-Key": gateway.key, "Content-Type": "application/json", header: once},
    ) as reply:
        assert reply.status == 200
    assert len((await gateway.call(LIST_SANDBOXES)).sandboxes) == 1


async def test_what_no_node_could_ever_hold_is_refused_at_once_with_the_numbers(gateway: Gateway) -> None:
    with pytest.raises(SandboxEnded) as caught:
        await gateway.create(memory_bytes=900 * 2**30, hold=0)
    assert caught.value.reason is Reason.IMPOSSIBLE
    assert "asked 900 GB" in caught.value.message


async def test_what_no_node_has_the_runtime_for_is_the_operators_fault_and_said_at_once(cluster: Cluster) -> None:
    async with start_gateway(cluster, isolations=["raw_exec", "kata"]) as gateway:
        with pytest.raises(StartFailed, match="tell the cluster") as caught:
            await gateway.create(isolation="kata", startup_timeout=60.0)
        assert caught.value.reason is Reason.DRIVER


async def test_a_queued_sandbox_says_what_it_waits_for_and_starts_when_there_is_room(gateway: Gateway) -> None:
    first = await gateway.create(cpus=_most_of(gateway))
    second = await gateway.create(cpus=_most_of(gateway), hold=0)
    assert second.state is State.PENDING
    assert "0 of 1 node" in second.message
    async with asyncio.TaskGroup() as tasks:
        request = GetSandboxRequest(hold=20)
        waiting = tasks.create_task(gateway.call(GET_SANDBOX, request, sandbox_id=second.sandbox_id))
        await gateway.call(STOP_SANDBOX, sandbox_id=first.sandbox_id)
    assert (await waiting).state is State.RUNNING


async def test_a_queued_create_ends_in_time_as_no_capacity(gateway: Gateway) -> None:
    await gateway.create(cpus=_most_of(gateway))
    with pytest.raises(StartFailed) as caught:
        await gateway.create(cpus=_most_of(gateway), startup_timeout=1.0)
    assert caught.value.reason is Reason.NO_CAPACITY


def _most_of(gateway: Gateway) -> float:
    """So many CPUs that one such sandbox fits and two do not."""
    return 0.6 * gateway.cpus


async def test_as_many_as_fit_run_and_the_rest_queue_with_the_reason(gateway: Gateway) -> None:
    created = await asyncio.gather(*(gateway.create(cpus=0.3 * gateway.cpus, hold=0) for _ in range(6)))
    placed = [each.sandbox_id for each in created if each.alloc_id is not None]
    assert len(placed) == 3
    assert all("short of cpu" in each.message for each in created if each.alloc_id is None)
    request = GetSandboxRequest(hold=20)
    seen = await asyncio.gather(*(gateway.call(GET_SANDBOX, request, sandbox_id=each) for each in placed))
    assert {each.state for each in seen} == {State.RUNNING}


async def test_a_sandbox_that_is_not_over_is_not_deleted(gateway: Gateway) -> None:
    created = await gateway.create(hold=0)
    with pytest.raises(InvalidRequest, match="stop it first"):
        await gateway.call(DELETE_SANDBOX, sandbox_id=created.sandbox_id)


_ABOUT_ONE = [op for op in OPERATIONS.values() if "{sandbox_id}" in op.gateway_path]


async def test_a_foreign_tenants_sandbox_is_as_unknown_as_one_that_never_was(gateway: Gateway) -> None:
    created = await gateway.create()
    for operation in _ABOUT_ONE:
        for sandbox_id in (created.sandbox_id, "never-was"):
            status, code = await _refusal(gateway, operation, sandbox_id)
            assert (status, code) == (404, "sandbox_not_found"), operation.name
    assert (await gateway.call(LIST_SANDBOXES, key="key-b")).sandboxes == []
    assert (await gateway.call(GET_SANDBOX, sandbox_id=created.sandbox_id)).state is State.RUNNING


async def _refusal(gateway: Gateway, operation: Operation, sandbox_id: str) -> tuple[int, str]:  # type: ignore[type-arg]
    path = operation.gateway_path.replace("{sandbox_id}", sandbox_id)
    takes_path = operation.carries != "json" and "path" in operation.request.__struct_fields__
    query = {"path": "/etc/hostname"} if takes_path else None
    data = b"{}" if operation.carries == "json" else None
    headers = {"X-API-Key": "key-b", "Content-Type": "application/json"}
    async with gateway.session.request(
        operation.method, gateway.url + path, params=query, data=data, headers=headers
    ) as reply:
        return reply.status, (await reply.json())["code"]


async def test_an_operator_sees_and_stops_everything_and_can_enter_nothing(gateway: Gateway) -> None:
    created = await gateway.create()
    listed = await gateway.call(LIST_SANDBOXES, key="key-op")
    assert [each.tenant for each in listed.sandboxes] == ["team-a"]
    seen = await gateway.call(GET_SANDBOX, sandbox_id=created.sandbox_id, key="key-op")
    assert (seen.state, seen.rocklet) == (State.RUNNING, None)
    with pytest.raises(SandboxNotFound):
        await gateway.call(RESOLVE_ROCKLET, sandbox_id=created.sandbox_id, key="key-op")
    with pytest.raises(SandboxNotFound):
        await gateway.call(RUN_IN_SESSION, RunRequest(command="id"), sandbox_id=created.sandbox_id, key="key-op")
    assert (await gateway.call(STOP_SANDBOX, sandbox_id=created.sandbox_id, key="key-op")).state is State.STOPPED


async def test_two_hundred_creates_at_once_are_two_hundred_sandboxes(gateway: Gateway) -> None:
    ids = [_id() for _ in range(200)]
    fields: dict[str, Any] = {"cpus": 0.001, "memory_bytes": 16 * 2**20, "disk_bytes": 2**20, "isolation": "mock"}
    await asyncio.gather(*(gateway.create(each, hold=0, **fields) for each in ids))
    request = GetSandboxRequest(hold=20)
    pending = set(ids)
    async with asyncio.timeout(200):  # each costs a real client 60 ms of CPU
        while pending:
            seen = await asyncio.gather(*(gateway.call(GET_SANDBOX, request, sandbox_id=each) for each in pending))
            pending -= {each.sandbox_id for each in seen if each.state is State.RUNNING}
    listed = await gateway.call(LIST_SANDBOXES, ListSandboxesRequest(state=State.RUNNING))
    assert sorted(each.sandbox_id for each in listed.sandboxes) == sorted(ids)
    assert len({each.alloc_id for each in listed.sandboxes}) == 200


@pytest.mark.parametrize(
    ("clock", "reason"),
    [
        ({"idle_timeout": 1.0}, Reason.IDLE),
        ({"max_lifetime": 1.0}, Reason.MAX_LIFETIME),
        ({"lease": 1.0}, Reason.LEASE),
    ],
    ids=["idle", "max_lifetime", "lease"],
)
async def test_a_clock_that_runs_out_while_no_gateway_lives_is_seen_by_the_next(
    cluster: Cluster, clock: dict[str, Any], reason: Reason
) -> None:
    name = _id()
    async with start_gateway(cluster, name=name, keep=True) as gateway:
        sandbox_id = (await gateway.create(**clock)).sandbox_id
    await asyncio.to_thread(
        cluster.wait_for,
        f"/v1/job/sbx-{sandbox_id}/allocations",
        lambda rows: rows[0]["ClientStatus"] in ("complete", "failed"),
    )
    async with start_gateway(cluster, name=name) as gateway:
        listed = (await gateway.call(LIST_SANDBOXES)).sandboxes
        assert [(each.state, each.reason) for each in listed] == [(State.STOPPED, reason)]
        with pytest.raises(SandboxEnded) as caught:
            await gateway.call(RUN_IN_SESSION, RunRequest(command="true"), sandbox_id=sandbox_id)
        assert caught.value.reason is reason


async def test_an_id_can_be_taken_anew_from_a_sandbox_that_has_ended_and_from_no_other(gateway: Gateway) -> None:
    request = CreateSandboxRequest(spec=small(_id()), hold=20, on_existing="replace_ended")
    first = await gateway.call(CREATE_SANDBOX, request)
    with pytest.raises(IdInUse):
        await gateway.call(CREATE_SANDBOX, request)
    await gateway.call(STOP_SANDBOX, sandbox_id=first.sandbox_id)
    with pytest.raises(IdInUse):
        await gateway.call(CREATE_SANDBOX, request, key="key-b")
    second = await gateway.call(CREATE_SANDBOX, request)
    assert (second.state, second.alloc_id != first.alloc_id) == (State.RUNNING, True)


@pytest.mark.parametrize("patience", [0.001, 0.01, 0.03, 0.1])
async def test_a_sandbox_whose_caller_goes_away_is_stopped_if_it_was_asked_for_so(
    gateway: Gateway, patience: float
) -> None:
    request = CreateSandboxRequest(spec=small(), hold=20, on_abandoned="stop")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await gateway.call(CREATE_SANDBOX, request)
            pytest.skip("it was ready too soon")
    async with asyncio.timeout(60):
        while any(each.state is not State.STOPPED for each in (await gateway.call(LIST_SANDBOXES)).sandboxes):
            continue  # nobody tells when it is over: its caller is gone


async def test_a_look_that_renews_starts_the_idle_clock_anew(gateway: Gateway) -> None:
    sandbox_id = (await gateway.create(idle_timeout=1000)).sandbox_id

    async def idle_remaining() -> float:
        found = (await gateway.call(GET_CLOCKS, sandbox_id=sandbox_id)).idle_remaining
        assert found is not None
        return found

    await asyncio.sleep(0.3)
    await gateway.call(GET_SANDBOX, sandbox_id=sandbox_id)
    assert await idle_remaining() < 999.8
    await gateway.call(GET_SANDBOX, GetSandboxRequest(renew=True), sandbox_id=sandbox_id)
    assert await idle_remaining() > 999.8
