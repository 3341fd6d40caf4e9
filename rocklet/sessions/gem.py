"""The gem action protocol: environments that are made, reset and stepped, all in one host process."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

from rock.wire.envs import (
    Env,
    EnvList,
    EnvRequest,
    EnvStart,
    EnvStep,
    MakeEnvRequest,
    ResetEnvRequest,
    StepEnvRequest,
)
from rock.wire.errors import (
    Canceled,
    CommandTimeout,
    EnvFailed,
    EnvLost,
    InvalidRequest,
    LimitReached,
    SessionExists,
    SessionNotFound,
)
from rock.wire.messages import Empty
from rocklet.actions import Call
from rocklet.envhost.process import HostEnded, HostProcess
from rocklet.memory import OOM_REASON
from rocklet.processes import Children
from rocklet.sessions.turns import Turns
from rocklet.surroundings import Surroundings

__all__ = ["GemSession"]

log = logging.getLogger(__name__)

ENV_LIMIT = 1024  # environments of one sandbox


class GemSession:
    """A sandbox's environments by name.  Their host starts with the first call, and serves one call at a time.

    A host that ends takes its environments with it: calls about them say so until they are made again.
    """

    def __init__(self, python: str, children: Children, surroundings: Surroundings) -> None:
        """`python` is what the node offers; where there is no such program, as in an image, the sandbox's own is it."""
        self._offered, self._children, self._surroundings = python, children, surroundings
        self._host: HostProcess | None = None
        self._turns = Turns()
        self._envs: dict[str, str] = {}
        self._lost: set[str] = set()

    async def make(self, request: MakeEnvRequest, call: Call) -> Env:
        """A new environment.

        Raises InvalidRequest: no such environment; SessionExists; EnvFailed: its constructor raised.
        """
        async with self._turn(call):
            if request.env in self._envs:
                raise SessionExists(
                    f"environment {request.env!r} exists; close it first, or use another name",
                    details={"field": "env", "value": request.env},
                )
            if len(self._envs) >= ENV_LIMIT:
                message = f"the sandbox has {ENV_LIMIT} environments; close some"
                raise LimitReached(message, details={"limit": "envs", "value": ENV_LIMIT})
            asked = {"op": "make", "env": request.env, "env_id": request.env_id, "kwargs": request.kwargs}
            await self._ask(asked, call, request.timeout)
            self._envs[request.env] = request.env_id
            self._lost.discard(request.env)
        return Env(env=request.env, env_id=request.env_id)

    async def reset(self, request: ResetEnvRequest, call: Call) -> EnvStart:
        """The beginning of an episode.

        Raises SessionNotFound, EnvFailed, EnvLost.
        """
        async with self._turn(call):
            self._check(request.env)
            asked = {"op": "reset", "env": request.env, "seed": request.seed}
            return EnvStart(**await self._ask(asked, call, request.timeout))

    async def step(self, request: StepEnvRequest, call: Call) -> EnvStep:
        """What an action leads to.

        Raises SessionNotFound, EnvFailed, EnvLost.
        """
        async with self._turn(call):
            self._check(request.env)
            asked = {"op": "step", "env": request.env, "action": request.action}
            return EnvStep(**await self._ask(asked, call, request.timeout))

    async def close(self, request: EnvRequest, call: Call) -> Empty:
        """Let an environment go; one that is lost, too.

        Raises SessionNotFound, EnvFailed.
        """
        async with self._turn(call):
            if request.env in self._lost:
                self._lost.remove(request.env)
                return Empty()
            self._check(request.env)
            del self._envs[request.env]
            await self._ask({"op": "close", "env": request.env}, call, None)
        return Empty()

    async def list(self, call: Call) -> EnvList:
        """What there is, and what could be made."""
        async with self._turn(call):
            answer = await self._ask({"op": "list"}, call, None)
            return EnvList(envs=[Env(env=env, env_id=env_id) for env, env_id in self._envs.items()], **answer)

    async def end(self) -> None:
        """End the host, if there is one."""
        if self._host is not None:
            await self._host.end()

    @contextlib.asynccontextmanager
    async def _turn(self, call: Call) -> AsyncIterator[None]:
        """Whoever came first goes first; the host may have ended meanwhile, with all that it held.

        Raises Canceled: the caller has gone before its turn came.
        """
        if not await self._turns.take(call.canceled):
            raise Canceled("canceled before it started; nothing was run")
        try:
            if self._host is not None and self._host.has_ended:
                self._lose_all()
            yield
        finally:
            self._turns.give()

    def _check(self, env: str) -> None:
        if env in self._lost:
            message = f"environment {env!r} was lost when its host ended; make it again, and mask the episode"
            raise EnvLost(message, details={"env": env, "executed": "no"})
        if env not in self._envs:
            raise SessionNotFound(f"there is no environment {env!r}; make it first", details={"env": env})

    async def _ask(self, question: dict[str, Any], call: Call, limit: float | None) -> dict[str, Any]:
        try:
            answer = await self._running_host().ask(question, call, limit)
        except HostEnded as ended:
            self._lose_all()
            raise _explain_end(ended, question, limit) from ended
        error = answer.get("error")
        if error is None:
            return answer
        if error["kind"] == "no_gem":
            await self.end()  # so that one may be started that has it: commands can install it
            raise _no_gem()
        raise _explain(error, question)

    def _running_host(self) -> HostProcess:
        if self._host is None or self._host.has_ended:
            self._host = HostProcess(self._find_python(), self._children, self._surroundings)
            log.info("the environment host is process %d", self._host.pid)
        return self._host

    def _find_python(self) -> str:
        if os.access(self._offered, os.X_OK):
            return self._offered
        found = shutil.which("python3", path=self._surroundings.env["PATH"])
        if found is None:
            raise _no_gem()
        return found

    def _lose_all(self) -> None:
        self._lost |= self._envs.keys()
        self._envs.clear()


def _no_gem() -> InvalidRequest:
    return InvalidRequest(
        "this sandbox hosts no environments: no Python in it has gem-llm; use an image in which `pip install gem-llm` "
        "was run for its python3, or, if sandboxes are processes, run `rock-nomad setup-gem` on the node and name the "
        "Python that it prints in ROCKLET_GEM_PYTHON",
        details={"field": "image", "expected": "a sandbox with a Python that has gem-llm"},
    )


def _explain_end(
    ended: HostEnded, question: dict[str, Any], limit: float | None
) -> EnvLost | CommandTimeout | Canceled:
    """The error for a call whose host has ended: by the call's slowness, by its caller's wish, or by itself."""
    env, what = question.get("env", ""), question["op"]
    details = {"env": env, "executed": "unknown"}
    if ended.why == "canceled":
        return Canceled(f"{what} was canceled; the environments of this sandbox were ended", details=details)
    if ended.why == "timed_out":
        message = f"{what} of environment {env!r} took longer than {limit:g} s; the sandbox's environments were ended"
        return CommandTimeout(message, details=details)
    if ended.why == "oom":
        message = f"the host of environment {env!r} ended during {what}: {OOM_REASON}"
        return EnvLost(message, details={**details, "exit_code": ended.exit_code, "cause": "oom"})
    log.warning("the environment host ended with exit code %d: %s", ended.exit_code, ended.stderr)
    message = f"the host of environment {env!r} ended with exit code {ended.exit_code} during {what}; make it again"
    return EnvLost(message, details={**details, "exit_code": ended.exit_code, "stderr": ended.stderr})


def _explain(error: dict[str, Any], question: dict[str, Any]) -> InvalidRequest | EnvFailed:
    """The error that the host has answered."""
    if error["kind"] == "unknown_env_id":
        env_id, near = question["env_id"], ", ".join(error["near"])
        expected = f"a registered environment such as {near}" if near else "one of those that list_envs tells"
        return InvalidRequest(
            f"env_id is {env_id[:80]!r}; it must be {expected}",
            details={"field": "env_id", "value": env_id[:80], "expected": expected, "near": error["near"]},
        )
    message = f"{question['op']} of environment {question['env']!r} raised {error['type']}: {error['message']}"
    return EnvFailed(message, details={"type": error["type"], "traceback": error["traceback"]})
