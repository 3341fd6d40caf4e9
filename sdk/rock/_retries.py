"""Trying again: a decorator, and a command of a sandbox that is worth it."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rock.errors import CommandRockError

if TYPE_CHECKING:
    from rock._requests import RunModeType
    from rock._responses import Observation
    from rock._sandbox import Sandbox

__all__ = ["arun_with_retry", "retry_async", "wait_until_alive"]

_T = TypeVar("_T")

log = logging.getLogger(__name__)


def retry_async(
    max_attempts: int = 3,
    delay_seconds: float = 1.0,
    backoff: float = 1.0,
    jitter: bool = False,
    exceptions: tuple[type[Exception], ...] = (Exception,),
) -> Callable[[Callable[..., Awaitable[_T]]], Callable[..., Awaitable[_T]]]:
    """Call a coroutine function again when it raises, so often in all; the last error is raised.

    Pauses begin with `delay_seconds`, each `backoff` times as long as the one before; with `jitter` they are anything
    from none to twice that.  Raises ValueError: no attempt at all was asked for.
    """
    if max_attempts < 1:
        raise ValueError(f"max_attempts is {max_attempts}; it must be 1 or more")

    def decorate(function: Callable[..., Awaitable[_T]]) -> Callable[..., Awaitable[_T]]:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> _T:  # noqa: ANN401 - whatever the function takes
            pause = delay_seconds
            for attempt in range(1, max_attempts):
                try:
                    return await function(*args, **kwargs)
                except exceptions as error:
                    log.warning("attempt %d of %d failed, another follows: %s", attempt, max_attempts, error)
                await asyncio.sleep(random.uniform(0, 2 * pause) if jitter else pause)  # noqa: S311 - spreads callers
                pause *= backoff
            return await function(*args, **kwargs)

        return call

    return decorate


@retry_async(max_attempts=3, delay_seconds=5.0, backoff=2.0)
async def arun_with_retry(  # noqa: PLR0913 - ROCK's signature
    sandbox: Sandbox,
    cmd: str,
    session: str,
    mode: RunModeType,
    wait_timeout: int = 300,
    wait_interval: int = 10,
    error_msg: str = "Command failed",
) -> Observation:
    """Run a command until it ends with 0, three times at most.

    Raises CommandRockError: it never did.
    """
    observation = await sandbox.arun(cmd, session, mode=mode, wait_timeout=wait_timeout, wait_interval=wait_interval)
    if observation.exit_code != 0:
        raise CommandRockError(f"{error_msg} with exit code: {observation.exit_code}, output: {observation.output}")
    return observation


class _Probe(Protocol):
    """Asks whether something lives; its answer is true if it does, and has a `message`."""

    async def __call__(self, *, timeout: float | None) -> Any: ...  # noqa: ANN401 - as ROCK's callers have it


async def wait_until_alive(
    function: _Probe,
    timeout: float = 10.0,
    function_timeout: float | None = 0.1,
    sleep: float = 0.25,
) -> None:
    """Ask until the answer is true.

    Raises TimeoutError, with the last answer's message.
    """
    until, attempts, answer = time.monotonic() + timeout, 0, None
    while time.monotonic() < until:
        answer = await function(timeout=function_timeout)
        if answer:
            return
        attempts += 1
        await asyncio.sleep(sleep)
    said = getattr(answer, "message", None)
    raise TimeoutError(f"nothing lived within {timeout:g} s, in {attempts} attempts; the last answer: {said}")
