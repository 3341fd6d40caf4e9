"""ROCK's GEM wire: five calls about one environment, each in a sandbox of its own; bodies raw, errors `{"detail"}`.

A reply is 4xx or 502 to 504, never 500: ROCK's client raises for each, and ROCK's users retry on the latter.
Source: rl-rock 1.11, `rock/admin/gem/api.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from rock.wire.codec import decode, encode
from rock.wire.envs import (
    ENV_SANDBOX,
    EnvId,
    EnvRequest,
    EnvStart,
    EnvStep,
    MakeEnvRequest,
    ResetEnvRequest,
    Seed,
    StepEnvRequest,
)
from rock.wire.errors import (
    EnvFailed,
    EnvLost,
    InvalidRequest,
    RockException,
    SandboxEnded,
    SessionNotFound,
)
from rock.wire.messages import CreateSandboxRequest, Empty
from rock.wire.operations import (
    CLOSE_ENV,
    LIST_ENVS,
    MAKE_ENV,
    RESET_ENV,
    STEP_ENV,
    STOP_SANDBOX,
)
from rock_nomad.gateway.dialects import Dialect, Endpoint, Perform
from rock_nomad.gateway.dialects.starts import HOLD, started

__all__ = ["Gem"]

_PREFIX = "/apis/v1/envs/gem"
_JSON = "application/json"
_SandboxId = Annotated[str, Meta(min_length=1, description="the sandbox_id that make has answered")]
_Action = Annotated[str, Meta(description="a text such as \\boxed{up}")]
_T = TypeVar("_T", bound=msgspec.Struct)

log = logging.getLogger(__name__)


class _Make(msgspec.Struct, frozen=True, kw_only=True):
    env_id: EnvId


class _About(msgspec.Struct, frozen=True, kw_only=True):
    sandbox_id: _SandboxId


class _Reset(_About, frozen=True, kw_only=True):
    seed: Seed | None = None


class _Step(_About, frozen=True, kw_only=True):
    action: _Action


class _EnvIds(msgspec.Struct, frozen=True, kw_only=True):
    env_id: list[str]


class Gem:
    """The wire of ROCK's `RockEnv`.  Unknown keys are ignored, as there."""

    prefix = _PREFIX

    def routes(self) -> Iterable[Endpoint]:
        """The five calls."""
        return [
            Endpoint("POST", f"{_PREFIX}/make", "write", self._make),
            Endpoint("POST", f"{_PREFIX}/reset", "read", self._reset),
            Endpoint("POST", f"{_PREFIX}/step", "read", self._step),
            Endpoint("POST", f"{_PREFIX}/close", "write", self._close),
            Endpoint("POST", f"{_PREFIX}/list", "read", self._list),
        ]

    def encode_error(self, error: RockException, status: int, request_id: str) -> web.Response:
        """The error's sentence, and under which id the log has more."""
        family = "retry" if error.retryable else "do not retry"
        detail = {"detail": f"{error.message} ({error.error or 'error'}, {family}, request {request_id})"}
        sent = 502 if status == 500 else status
        return web.Response(status=sent, body=msgspec.json.encode(detail), content_type=_JSON)

    async def _make(self, request: web.Request, perform: Perform) -> web.Response:
        """Start a sandbox and make the environment in it; both, or neither if that fails or the caller goes away."""
        wanted = await _read(_Make, request)
        create = CreateSandboxRequest(spec=ENV_SANDBOX, hold=HOLD, on_abandoned="stop")
        async with started(perform, create) as status:
            await perform(MAKE_ENV, MakeEnvRequest(env_id=wanted.env_id), sandbox_id=status.sandbox_id)
        return _reply(_About(sandbox_id=status.sandbox_id))

    async def _reset(self, request: web.Request, perform: Perform) -> web.Response:
        wanted = await _read(_Reset, request)
        start: EnvStart = await perform(RESET_ENV, ResetEnvRequest(seed=wanted.seed), sandbox_id=wanted.sandbox_id)
        return _reply(start)

    async def _step(self, request: web.Request, perform: Perform) -> web.Response:
        wanted = await _read(_Step, request)
        step: EnvStep = await perform(STEP_ENV, StepEnvRequest(action=wanted.action), sandbox_id=wanted.sandbox_id)
        return _reply(step)

    async def _close(self, request: web.Request, perform: Perform) -> web.Response:
        """Close the environment, and stop its sandbox whatever has become of it."""
        wanted = await _read(_About, request)
        try:
            await perform(CLOSE_ENV, EnvRequest(), sandbox_id=wanted.sandbox_id)
        except (SessionNotFound, SandboxEnded, EnvFailed, EnvLost) as error:
            log.info("sandbox %s is stopped without its environment: %s", wanted.sandbox_id, error)
        await perform(STOP_SANDBOX, Empty(), sandbox_id=wanted.sandbox_id)
        return _reply(wanted)

    async def _list(self, request: web.Request, perform: Perform) -> web.Response:
        wanted = await _read(_About, request)
        listed = await perform(LIST_ENVS, Empty(), sandbox_id=wanted.sandbox_id)
        return _reply(_EnvIds(env_id=listed.env_ids))


async def _read(kind: type[_T], request: web.Request) -> _T:
    """The request that a JSON body says.

    Raises InvalidRequest: fix the field it names.
    """
    body = await request.read()
    if body and request.content_type != _JSON:
        # A web page can send other types across origins without being asked whether it may.
        raise InvalidRequest(
            f"Content-Type is {request.content_type!r}; send {_JSON}",
            details={"field": "Content-Type", "value": request.content_type[:80], "expected": _JSON},
        )
    return decode(kind, body)


def _reply(result: msgspec.Struct) -> web.Response:
    return web.Response(body=encode(result), content_type=_JSON)


_: type[Dialect] = Gem
