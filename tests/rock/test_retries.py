from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rock._responses import Observation
from rock._retries import arun_with_retry, retry_async, wait_until_alive
from rock.errors import CommandRockError


class Flaky:
    """Raises what stands here, one after another, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.times = list(errors), list[float]()

    async def call(self, word: str) -> str:
        self.times.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return word


async def test_what_fails_is_tried_again_with_longer_and_longer_pauses() -> None:
    flaky = Flaky(ValueError("1"), ValueError("2"))
    assert await retry_async(delay_seconds=0.02, backoff=2)(flaky.call)("done") == "done"
    first, second, third = flaky.times
    assert (second - first >= 0.015, third - second >= 0.035) == (True, True)


async def test_the_last_error_is_raised() -> None:
    flaky = Flaky(*(ValueError(str(number)) for number in range(9)))
    with pytest.raises(ValueError, match=r"^1$"):
        await retry_async(max_attempts=2, delay_seconds=0, jitter=True)(flaky.call)("done")


async def test_other_errors_are_raised_at_once() -> None:
    flaky = Flaky(KeyError("x"))
    with pytest.raises(KeyError):
        await retry_async(delay_seconds=0, exceptions=(ValueError,))(flaky.call)("done")
    assert len(flaky.times) == 1


def test_no_attempt_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        retry_async(max_attempts=0)


class Shell:
    """A sandbox whose commands end as it is told."""

    def __init__(self, *exit_codes: int) -> None:
        self.exit_codes = list(exit_codes)

    async def arun(self, cmd: str, session: str, **_: object) -> Observation:
        return Observation(output=f"{cmd} in {session}", exit_code=self.exit_codes.pop(0))


async def test_a_command_that_ends_with_0_is_run_once() -> None:
    shell: Any = Shell(0)
    assert (await arun_with_retry(shell, "ls", "s", "normal")).output == "ls in s"


async def test_a_command_that_fails_says_how() -> None:
    shell: Any = Shell(3)
    with pytest.raises(CommandRockError, match="no luck with exit code: 3, output: ls in s"):
        await arun_with_retry.__wrapped__(shell, "ls", "s", "normal", error_msg="no luck")  # type: ignore[attr-defined]


class NotYet:
    """An answer that is not true."""

    message = "not yet"

    def __bool__(self) -> bool:
        return False


async def test_whoever_waits_hears_when_it_lives_and_why_it_never_did() -> None:
    answers: list[object] = [None, NotYet(), "yes"]

    async def ask(*, timeout: float | None) -> object:  # noqa: ASYNC109 - as ROCK's callers have it
        assert timeout == 0.1
        return answers.pop(0) if len(answers) > 1 else answers[0]

    await wait_until_alive(ask, sleep=0.001)
    answers[:] = [NotYet()]
    with pytest.raises(TimeoutError, match="the last answer: not yet"):
        await wait_until_alive(ask, timeout=0.02, sleep=0.001)
