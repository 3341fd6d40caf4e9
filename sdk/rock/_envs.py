from __future__ import annotations

import logging
import operator
import uuid
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rock import _portal
from rock._config import find_gateway
from rock._connection import Connection
from rock._env_actions import Env
from rock._gateway import Gateway
from rock._sandbox_config import SandboxConfig
from rock._start import start_sandbox
from rock.errors import InvalidParameterRockException, RockException, SandboxNotFound
from rock.wire import codec
from rock.wire import envs as e
from rock.wire.messages import Empty
from rock.wire.operations import MAKE_ENV, RESET_ENV, STEP_ENV, STOP_SANDBOX

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Env", "RockEnv", "make"]

log = logging.getLogger(__name__)

_Message = TypeVar("_Message", bound=msgspec.Struct)


class RockEnv(Env):
    r"""A GEM environment in a sandbox of its own, which is started here and ended by `close`.

    Calls block.  A failure is never a reward: whatever goes wrong is raised, by what to do next (`rock.errors`).

        with RockEnv("game:Sokoban-v0-easy") as env:
            observation, info = env.reset(seed=42)
            observation, reward, terminated, truncated, info = env.step("\boxed{up}")

    Raises InvalidRequest: no such environment, the message lists near names; EnvFailed: it cannot be made; and what
    `Sandbox.start` raises.
    """

    def __init__(self, env_id: str) -> None:
        self._env_id = env_id
        config = SandboxConfig()
        self._direct = config.direct
        self._gateway = Gateway(find_gateway(config.base_url))
        self._sandbox_id = uuid.uuid4().hex
        self._is_closed = False
        self._connection = _portal.run(self._open())

    def __repr__(self) -> str:
        return f"RockEnv({self._env_id!r}, sandbox_id={self._sandbox_id!r})"

    @property
    def env_id(self) -> str:
        """What it is registered as."""
        return self._env_id

    @property
    def sandbox_id(self) -> str:
        """The sandbox it lives in."""
        return self._sandbox_id

    def reset(self, seed: int | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode; the same seed begins the same one.

        Returns (observation, info).
        Raises EnvFailed: the environment raised; EnvLost, OutcomeUnknown: mask the episode, make another environment.
        """
        seed = None if seed is None else operator.index(seed)  # NumPy's, too
        start = _portal.run(self._open_connection.call(RESET_ENV, _checked(e.ResetEnvRequest(seed=seed))))
        return start.observation, start.info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take an action, once.

        Returns (observation, reward, terminated, truncated, info).
        Raises as `reset` does.
        """
        step = _portal.run(self._open_connection.call(STEP_ENV, _checked(e.StepEnvRequest(action=action))))
        return step.observation, step.reward, step.terminated, step.truncated, step.info

    def close(self) -> None:
        """End the environment and its sandbox; a second time it does nothing."""
        if not self._is_closed:
            self._is_closed = True
            _portal.run(self._stop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _open_connection(self) -> Connection:
        if self._is_closed:
            raise InvalidParameterRockException("this environment is closed; make another one")
        return self._connection

    async def _open(self) -> Connection:
        request = _checked(e.MakeEnvRequest(env_id=self._env_id))
        spec = msgspec.structs.replace(e.ENV_SANDBOX, sandbox_id=self._sandbox_id)
        status = await start_sandbox(self._gateway, spec)
        connection = Connection(self._gateway, self._sandbox_id, self._direct)
        connection.learn(status.rocklet)
        try:
            await connection.call(MAKE_ENV, request)
        except BaseException:
            await self._stop()
            raise
        return connection

    async def _stop(self) -> None:
        try:
            await self._gateway.call(STOP_SANDBOX, Empty(), sandbox_id=self._sandbox_id)
        except SandboxNotFound:
            log.debug("sandbox %s is gone already", self._sandbox_id)
        except RockException as error:
            log.warning("sandbox %s could not be stopped, its idle timeout will end it: %s", self._sandbox_id, error)


def make(env_id: str, **kwargs: Any) -> RockEnv:  # noqa: ANN401 - whatever a caller has; there are none
    """Make an environment: `make("game:Sokoban-v0-easy")`.

    Raises as `RockEnv` does; TypeError: keyword arguments are not taken, as in ROCK.
    """
    return RockEnv(env_id, **kwargs)


def _checked(request: _Message) -> _Message:
    """A request, unless the server would refuse it.

    Raises InvalidRequest, before anything is sent.
    """
    return codec.decode(type(request), codec.encode(request))
