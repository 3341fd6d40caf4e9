"""ROCK's calls about the life of sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from rock.wire.errors import InvalidRequest, NotReady, RockException, SandboxNotFound
from rock.wire.messages import (
    CreateSandboxRequest,
    Empty,
    GetSandboxRequest,
    ListSandboxesRequest,
    Phase,
    SandboxStatus,
    State,
)
from rock.wire.operations import (
    CREATE_SANDBOX,
    DELETE_SANDBOX,
    GET_SANDBOX,
    GET_STATISTICS,
    LIST_SANDBOXES,
    STOP_SANDBOX,
)
from rock_nomad.gateway.dialects.rock import quirks
from rock_nomad.gateway.dialects.rock.calls import Asked, RockCall
from rock_nomad.gateway.dialects.rock.replies import render_start, render_status
from rock_nomad.gateway.dialects.rock.requests import (
    BatchRequest,
    ListRequest,
    Nothing,
    SandboxRequest,
    StartRequest,
    StatusRequest,
    to_list,
    to_spec,
)
from rock_nomad.gateway.dialects.starts import HOLD, started
from rock_nomad.gateway.errors import why_not

__all__ = ["CALLS"]

_Json = dict[str, Any]
_FAILED = frozenset({Phase.FAILED, Phase.TIMEOUT})
_NO_SNAPSHOTS = "files do not survive a stop on Nomad; start another sandbox"
_NO_COMMIT = "the gateway reaches no image engine on Nomad's nodes; build the image beforehand and start from it"
_NO_WARMUP = "there is no warm-up: Nomad pulls an image when a sandbox is placed; start one to have it pulled"
_NO_TASKSETS = "there are no task sets: what ROCK's workers clean up, Nomad's own collection does"
_NO_MOUNTS = "mounts are the node's affair and not told; `nomad alloc status` shows them to an operator"
_NO_NACOS = "there is no Nacos; a cluster's profile is in its gateways' configuration"
_NO_HOST_PROXY = "hosts are not reached through the gateway; sandboxes are, at /sandboxes/{id}/proxy"


async def _start(asked: Asked[StartRequest]) -> _Json:
    spec = to_spec(asked.request, asked.http.headers)
    wanted = CreateSandboxRequest(spec=spec, hold=quirks.START_HOLD, on_existing="replace_ended", on_abandoned="stop")
    return render_start(await asked.perform(CREATE_SANDBOX, wanted), asked.gateway)


async def _start_and_wait(asked: Asked[StartRequest]) -> _Json:
    spec = to_spec(asked.request, asked.http.headers)
    wanted = CreateSandboxRequest(spec=spec, hold=HOLD, on_existing="replace_ended", on_abandoned="stop")
    try:
        async with asyncio.timeout(quirks.SYNC_START_LIMIT), started(asked.perform, wanted) as status:
            return render_start(status, asked.gateway)
    except TimeoutError:
        limit = f"{quirks.SYNC_START_LIMIT:g}s"
        raise NotReady(f"sandbox not running after {limit}, and stopped; start_async waits longer") from None


async def _get_status(asked: Asked[StatusRequest]) -> _Json:
    everything = asked.request.include_all_states
    wanted = GetSandboxRequest(hold=0.0 if everything else quirks.STATUS_HOLD, renew=True)
    status = await asked.perform(GET_SANDBOX, wanted, sandbox_id=asked.request.sandbox_id)
    # Whoever waits for a start finds why it failed in its phases, and in no error.
    if status.state is State.STOPPED and not everything and not _failed_to_start(status):
        raise _hidden(status)
    return render_status(status, asked.gateway)


def _failed_to_start(status: SandboxStatus) -> bool:
    return any(phase.status in _FAILED for phase in status.phases.values())


def _hidden(status: SandboxStatus) -> RockException:
    """The error for a sandbox that ROCK no longer tells of; its family is that of how it ended."""
    why = why_not(status)
    return type(why)(f"Sandbox {status.sandbox_id} not found: {why.message}", reason=why.reason, details=why.details)


async def _is_alive(asked: Asked[SandboxRequest]) -> _Json:
    status = await asked.perform(GET_SANDBOX, GetSandboxRequest(), sandbox_id=asked.request.sandbox_id)
    if status.state is State.STOPPED:
        raise why_not(status)
    return {"is_alive": render_status(status, asked.gateway)["is_alive"], "message": status.message}


async def _get_statistics(asked: Asked[SandboxRequest]) -> _Json:
    used = await asked.perform(GET_STATISTICS, Empty(), sandbox_id=asked.request.sandbox_id)
    # What ROCK mounts of its own, for logs and for Docker in Docker, there is not.
    of_its_own = {"disk_log_percent": 0.0, "disk_dind_percent": 0.0}
    shares = {"cpu": used.cpu_percent, "mem": used.memory_percent, "disk": used.disk_percent}
    return {**shares, **of_its_own, "net": used.network_bytes}


async def _stop(asked: Asked[SandboxRequest]) -> str:
    sandbox_id = asked.request.sandbox_id
    with contextlib.suppress(SandboxNotFound, InvalidRequest):  # what cannot be an id is no sandbox's either
        await asked.perform(STOP_SANDBOX, Empty(), sandbox_id=sandbox_id)
    return f"{sandbox_id} stopped"


async def _delete(asked: Asked[SandboxRequest]) -> str:
    sandbox_id = asked.request.sandbox_id
    with contextlib.suppress(SandboxNotFound):
        await asked.perform(DELETE_SANDBOX, Empty(), sandbox_id=sandbox_id)
    return f"{sandbox_id} deleted"


async def _restart(asked: Asked[SandboxRequest]) -> _Json:
    sandbox_id = asked.request.sandbox_id
    status = await asked.perform(GET_SANDBOX, GetSandboxRequest(), sandbox_id=sandbox_id)
    why = _NO_SNAPSHOTS if status.state is State.STOPPED else f"current state is {status.state.value!r}"
    raise _refused(sandbox_id, f"Sandbox {sandbox_id} cannot be restarted: {why}")


async def _archive(asked: Asked[SandboxRequest]) -> _Json:
    sandbox_id = asked.request.sandbox_id
    await asked.perform(GET_SANDBOX, GetSandboxRequest(), sandbox_id=sandbox_id)
    raise _refused(sandbox_id, f"archive feature is disabled: {_NO_SNAPSHOTS}")


def _refused(sandbox_id: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, details={"field": "sandbox_id", "value": sandbox_id, "expected": "another call"})


async def _commit_status(asked: Asked[SandboxRequest]) -> _Json:
    sandbox_id = asked.request.sandbox_id
    await asked.perform(GET_SANDBOX, GetSandboxRequest(), sandbox_id=sandbox_id)
    raise _refused(sandbox_id, f"STATUS_NOT_FOUND: sandbox {sandbox_id} was never committed: {_NO_COMMIT}")


async def _commit(asked: Asked[SandboxRequest]) -> _Json:
    sandbox_id = asked.request.sandbox_id
    try:
        await asked.perform(GET_SANDBOX, GetSandboxRequest(), sandbox_id=sandbox_id)
    except SandboxNotFound as error:
        raise SandboxNotFound(f"SANDBOX_NOT_FOUND: {error.message}", details=error.details) from error
    raise _refused(sandbox_id, f"sandbox {sandbox_id} cannot be committed: {_NO_COMMIT}")


def _not_to_be_had(what: str) -> Callable[[Asked[Nothing]], Awaitable[_Json]]:
    """A call that ROCK has and Nomad does not."""

    async def refuse(asked: Asked[Nothing]) -> _Json:
        details = {"field": "path", "value": asked.http.path, "expected": "another call"}
        raise InvalidRequest(what, details=details)

    return refuse


async def _batch(asked: Asked[BatchRequest]) -> _Json:
    ids = asked.request.sandbox_ids
    wanted = ListSandboxesRequest(sandbox_id=ids, limit=2000)
    listed = await asked.perform(LIST_SANDBOXES, wanted) if ids else None
    alive = [each for each in listed.sandboxes if each.state is not State.STOPPED] if listed is not None else []
    return {**_NOTHING_WRONG, "statuses": [render_status(each, asked.gateway) for each in alive]}


async def _list(asked: Asked[ListRequest]) -> _Json:
    listed = await asked.perform(LIST_SANDBOXES, to_list(asked.request))
    items = [render_status(each, asked.gateway) for each in listed.sandboxes]
    return {**_NOTHING_WRONG, "items": items, "total": listed.total, "has_more": listed.next_cursor is not None}


_NOTHING_WRONG = {"code": None, "exit_code": None, "failure_reason": None}


async def _get_token(_asked: Asked[Nothing]) -> _Json:
    return {"Expiration": None}


CALLS: tuple[RockCall[Any], ...] = (
    RockCall("POST", "/start_async", StartRequest, _start, "async start sandbox failed"),
    RockCall("POST", "/start", StartRequest, _start_and_wait, "start sandbox failed", is_long=True),
    RockCall("GET", "/get_status", StatusRequest, _get_status, "get sandbox status failed"),
    RockCall("GET", "/is_alive", SandboxRequest, _is_alive, "get sandbox is alive failed"),
    RockCall("GET", "/get_sandbox_statistics", SandboxRequest, _get_statistics, "get sandbox statistics failed"),
    RockCall("POST", "/stop", SandboxRequest, _stop, "stop sandbox failed"),
    RockCall("POST", "/delete", SandboxRequest, _delete, "delete sandbox failed"),
    RockCall("POST", "/restart", SandboxRequest, _restart, "restart sandbox failed"),
    RockCall("POST", "/sandboxes/{sandbox_id}/restart", SandboxRequest, _restart, "restart sandbox failed"),
    RockCall("POST", "/sandboxes/{sandbox_id}/archive", SandboxRequest, _archive, "archive sandbox failed"),
    RockCall("POST", "/sandboxes/batch", BatchRequest, _batch, "batch get sandbox status failed"),
    RockCall("GET", "/sandboxes", ListRequest, _list, "list sandboxes failed"),
    RockCall("POST", "/commit", SandboxRequest, _commit, "commit sandbox failed"),
    RockCall("GET", "/commit/{sandbox_id}", SandboxRequest, _commit_status, "get commit status failed"),
    RockCall("POST", "/warmup/tasks", Nothing, _not_to_be_had(_NO_WARMUP), "warmup failed"),
    RockCall("POST", "/ops/tasksets", Nothing, _not_to_be_had(_NO_TASKSETS), "create taskset failed"),
    RockCall("GET", "/ops/tasksets/{taskset_id}", Nothing, _not_to_be_had(_NO_TASKSETS), "get taskset failed"),
    RockCall("GET", "/sandboxes/{sandbox_id}/mount-infos", Nothing, _not_to_be_had(_NO_MOUNTS), "get mounts failed"),
    RockCall("GET", "/get_nacos_config", Nothing, _not_to_be_had(_NO_NACOS), "get nacos config failed"),
    RockCall("POST", "/host/proxy/{path:.*}", Nothing, _not_to_be_had(_NO_HOST_PROXY), "host proxy post failed"),
    RockCall("GET", "/get_token", Nothing, _get_token, "get oss sts token failed"),
)
"""What ROCK offers of it here; its source is rl-rock 1.11, `rock/admin/entrypoints`."""
