"""Real environments of gem-llm, in a rocklet's host."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest

from rock.wire.envs import EnvRequest, EnvStep, MakeEnvRequest, ResetEnvRequest, StepEnvRequest
from rock.wire.errors import (
    CommandTimeout,
    EnvFailed,
    EnvLost,
    InvalidRequest,
    SessionExists,
    SessionNotFound,
)
from rock.wire.operations import CLOSE_ENV, GET_CLOCKS, LIST_ENVS, MAKE_ENV, RESET_ENV, STEP_ENV
from rocklet.config import Settings
from tests.gems import need_gem
from tests.rocklet.callers import TOKEN, Caller

pytestmark = pytest.mark.slow

SOKOBAN = "game:Sokoban-v0-easy"


@pytest.fixture
def gem_python() -> str:
    """A Python with gem-llm."""
    return need_gem()


@pytest.fixture
def programs() -> str:
    """Where programs are, other than in the sandbox's home."""
    return os.defpath


@pytest.fixture
def settings(tmp_path: Path, gem_python: str, programs: str) -> Settings:
    """What a rocklet is told that hosts environments."""
    return Settings(
        sandbox_id="s-test",
        token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest(),
        host="127.0.0.1",
        home=str(tmp_path),
        gem_python=gem_python,
        env={"PATH": f"{tmp_path}:{programs}"},
    )


@pytest.fixture
async def player(caller: Caller) -> Caller:
    """A rocklet that holds Sokoban."""
    await caller.call(MAKE_ENV, MakeEnvRequest(env_id=SOKOBAN))
    return caller


def _host(caller: Caller) -> int:
    host = caller.engine._gem._host
    assert host is not None
    return host.pid


async def _play(caller: Caller, env: str, seed: int) -> list[EnvStep]:
    await caller.call(RESET_ENV, ResetEnvRequest(env=env, seed=seed))
    steps: list[EnvStep] = []
    while not steps or not (steps[-1].terminated or steps[-1].truncated):
        move = ("up", "left", "down", "right")[len(steps) % 4]
        steps.append(await caller.call(STEP_ENV, StepEnvRequest(env=env, action=rf"\boxed{{{move}}}")))
    return steps


async def test_sokoban_is_played_to_the_end_and_a_seed_repeats_it(player: Caller) -> None:
    start = await player.call(RESET_ENV, ResetEnvRequest(seed=3))
    assert "Sokoban" in start.observation
    assert "P" in start.info["suffix"]
    steps = await _play(player, "default", 3)
    assert len(steps) == 20
    assert "maximum number of turns" in steps[-1].observation
    assert await _play(player, "default", 3) == steps
    assert await _play(player, "default", 4) != steps


async def test_what_is_no_move_ends_the_episode_with_gems_own_penalty(player: Caller) -> None:
    await player.call(RESET_ENV, ResetEnvRequest(seed=1))
    step = await player.call(STEP_ENV, StepEnvRequest(action="I do not know"))
    assert (step.reward, step.terminated) == (-0.1, True)


async def test_a_sandbox_has_several_environments(player: Caller) -> None:
    await player.call(MAKE_ENV, MakeEnvRequest(env="two", env_id="game:GuessTheNumber-v0-easy"))
    await player.call(RESET_ENV, ResetEnvRequest(seed=1))
    guess = await player.call(RESET_ENV, ResetEnvRequest(env="two", seed=1))
    assert "number" in guess.observation
    step = await player.call(STEP_ENV, StepEnvRequest(action=r"\boxed{up}"))
    assert not step.terminated
    listed = await player.call(LIST_ENVS)
    assert {env.env: env.env_id for env in listed.envs} == {"default": SOKOBAN, "two": "game:GuessTheNumber-v0-easy"}
    assert SOKOBAN in listed.env_ids
    await player.call(CLOSE_ENV, EnvRequest(env="two"))
    with pytest.raises(SessionNotFound, match="make it first"):
        await player.call(STEP_ENV, StepEnvRequest(env="two", action="1"))
    with pytest.raises(SessionExists):
        await player.call(MAKE_ENV, MakeEnvRequest(env_id=SOKOBAN))


async def test_an_environment_takes_arguments(caller: Caller) -> None:
    await caller.call(MAKE_ENV, MakeEnvRequest(env_id=SOKOBAN, kwargs={"max_turns": 2}))
    assert len(await _play(caller, "default", 1)) == 2


async def test_an_unknown_environment_is_refused_with_near_names(caller: Caller) -> None:
    with pytest.raises(InvalidRequest, match="game:Sokoban-v0-easy") as raised:
        await caller.call(MAKE_ENV, MakeEnvRequest(env_id="game:Sokoban-v0"))
    assert raised.value.details["field"] == "env_id"
    with pytest.raises(SessionNotFound):
        await caller.call(RESET_ENV, ResetEnvRequest())


async def test_what_an_environment_raises_is_its_own_doing(player: Caller) -> None:
    with pytest.raises(EnvFailed, match="make of environment 'two' raised") as raised:
        await player.call(MAKE_ENV, MakeEnvRequest(env="two", env_id=SOKOBAN, kwargs={"dim_room": 5}))
    assert raised.value.details["type"]
    assert (await _play(player, "default", 1))[-1].truncated


async def test_a_host_that_dies_in_the_middle_is_no_reward(player: Caller) -> None:
    await player.call(RESET_ENV, ResetEnvRequest(seed=1))
    os.kill(_host(player), signal.SIGSTOP)
    async with asyncio.TaskGroup() as tasks:
        stepping = tasks.create_task(_step_in_vain(player))
        await _wait_asked(player)
        os.kill(_host(player), signal.SIGKILL)
    assert stepping.result().details["exit_code"] == 137
    with pytest.raises(EnvLost, match="make it again"):
        await player.call(STEP_ENV, StepEnvRequest(action=r"\boxed{up}"))
    await player.call(MAKE_ENV, MakeEnvRequest(env_id=SOKOBAN))
    assert len(await _play(player, "default", 1)) == 20


async def _wait_asked(player: Caller) -> None:
    while not player.engine._gem._turns.is_taken:  # noqa: ASYNC110 - the rocklet is in this loop, and turns it
        await asyncio.sleep(0)


async def _step_in_vain(player: Caller) -> EnvLost:
    with pytest.raises(EnvLost, match="during step") as raised:
        await player.call(STEP_ENV, StepEnvRequest(action=r"\boxed{up}"))
    return raised.value


async def test_a_host_that_died_between_two_calls_has_lost_its_environments(player: Caller) -> None:
    os.kill(_host(player), signal.SIGKILL)
    host = player.engine._gem._host
    assert host is not None
    await host._child.exited
    with pytest.raises(EnvLost):
        await player.call(RESET_ENV, ResetEnvRequest())
    await player.call(CLOSE_ENV)
    with pytest.raises(SessionNotFound):
        await player.call(RESET_ENV, ResetEnvRequest())


async def test_a_call_that_takes_too_long_is_ended_and_others_answer_meanwhile(player: Caller) -> None:
    os.kill(_host(player), signal.SIGSTOP)
    async with asyncio.TaskGroup() as tasks:
        resetting = tasks.create_task(_time_out(player))
        await _wait_asked(player)
        await player.execute("true")
        assert not resetting.done()
    await player.call(MAKE_ENV, MakeEnvRequest(env_id=SOKOBAN))


async def _time_out(player: Caller) -> None:
    with pytest.raises(CommandTimeout, match="longer than 1 s"):
        await player.call(RESET_ENV, ResetEnvRequest(timeout=1))


async def test_a_caller_that_goes_away_ends_what_it_had_asked_for(player: Caller) -> None:
    os.kill(_host(player), signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await player.call(RESET_ENV, ResetEnvRequest())
    async with asyncio.timeout(60):
        with pytest.raises(EnvLost):
            await player.call(RESET_ENV, ResetEnvRequest())


async def test_a_step_is_an_action_that_keeps_the_sandbox_from_being_idle(player: Caller) -> None:
    before = await player.call(GET_CLOCKS)
    await player.call(RESET_ENV, ResetEnvRequest(seed=1))
    after = await player.call(GET_CLOCKS)
    assert before.idle_remaining is not None
    assert after.idle_remaining is not None
    passed = after.uptime - before.uptime
    assert after.idle_remaining > before.idle_remaining - passed


async def test_a_step_sent_twice_is_taken_once(player: Caller) -> None:
    await player.call(RESET_ENV, ResetEnvRequest(seed=1))
    step = StepEnvRequest(action=r"\boxed{left}")
    first = await player.call(STEP_ENV, step, request_id="step-1")
    assert await player.call(STEP_ENV, step, request_id="step-1") == first
    rest = 0
    while not (await player.call(STEP_ENV, step)).truncated:
        rest += 1
    assert rest == 18


@pytest.mark.parametrize("gem_python", ["", "/nowhere/python"])
@pytest.mark.parametrize("programs", [""])
async def test_a_sandbox_hosts_none_until_its_own_python_has_gem(caller: Caller, tmp_path: Path) -> None:
    own = tmp_path / "python3"

    def install(python: str) -> None:
        own.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        own.chmod(0o755)

    async def make() -> None:
        await caller.call(MAKE_ENV, MakeEnvRequest(env_id=SOKOBAN))

    with pytest.raises(InvalidRequest, match="pip install gem-llm"):
        await make()
    install(sys.executable)
    with pytest.raises(InvalidRequest, match="pip install gem-llm"):
        await make()
    install(need_gem())
    await make()
