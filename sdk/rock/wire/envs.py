"""What travels to a reinforcement learning environment and back: make, reset, step, close, list.

An environment is a session in the gem action protocol: a text goes in, a text and a reward come out.  Source:
github.com/axon-rl/gem, `gem/core.py`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from rock.wire.messages import SessionName
from rock.wire.spec import SandboxSpec, Seconds

__all__ = [
    "ENV_SANDBOX",
    "Env",
    "EnvId",
    "EnvList",
    "EnvRequest",
    "EnvStart",
    "EnvStep",
    "MakeEnvRequest",
    "ResetEnvRequest",
    "Seed",
    "StepEnvRequest",
]

EnvId = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f]{1,256}\Z", description="a registered environment such as game:Sokoban-v0-easy")
]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1, description="a whole number, 0 to 4294967295")]
_Action = Annotated[str, Meta(max_length=8 * 2**20, description="a text such as \\boxed{up}")]

ENV_SANDBOX = SandboxSpec(
    cpus=0.25,  # it mostly waits for a policy
    memory_bytes=2**30,
    disk_bytes=256 * 2**20,
    idle_timeout=1800.0,  # a trainer computes between two steps; ROCK's is half an hour, too
    labels={"rock.protocol": "gem"},
)
"""The sandbox that is started for one environment where nobody asks for another."""


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message about an environment."""


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an environment says."""


class EnvRequest(_Request, frozen=True, kw_only=True):
    """A call about one environment."""

    env: SessionName = "default"
    """Its name in this sandbox, which may have many."""


class MakeEnvRequest(EnvRequest, frozen=True, kw_only=True):
    """Make an environment; it wants to be reset before its first step."""

    env_id: EnvId
    """What it is registered as."""
    kwargs: dict[str, Any] = {}
    """Arguments for its constructor."""
    timeout: Seconds | None = None
    """Beyond it the host is killed, and with it every environment of the sandbox; None: no limit."""


class ResetEnvRequest(EnvRequest, frozen=True, kw_only=True):
    """Begin an episode."""

    seed: Seed | None = None
    timeout: Seconds | None = None
    """As in `MakeEnvRequest`."""


class StepEnvRequest(EnvRequest, frozen=True, kw_only=True):
    """Take one action."""

    action: _Action
    timeout: Seconds | None = None
    """As in `MakeEnvRequest`."""


class Env(_Result, frozen=True, kw_only=True):
    """An environment that was made."""

    env: str
    env_id: str


class EnvStart(_Result, frozen=True, kw_only=True):
    """How an episode begins."""

    observation: str
    info: dict[str, Any] = {}
    """The environment's own words, as JSON; the state is often in `suffix`."""


class EnvStep(_Result, frozen=True, kw_only=True):
    """What an action has led to."""

    observation: str
    reward: float
    terminated: bool
    """The episode has ended by itself; reset before the next step."""
    truncated: bool
    """It was cut short, by a limit of turns."""
    info: dict[str, Any] = {}


class EnvList(_Result, frozen=True, kw_only=True):
    """The environments of a sandbox."""

    envs: list[Env]
    """Those that were made."""
    env_ids: list[str]
    """Those that could be made, as they are registered."""
