"""`rock.make`, against a real rocklet that hosts real environments."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import rock
from rock import _portal
from rock._envs import Env, RockEnv
from rock.errors import EnvLost, GatewayUnreachable, InvalidParameterRockException, InvalidRequest, StartFailed
from rock.wire import messages as m
from rock.wire.envs import ENV_SANDBOX
from rock.wire.operations import CREATE_SANDBOX, GET_CLOCKS, STOP_SANDBOX
from tests.gems import need_gem
from tests.rock.servers import Seen, WireServer, refused_url, running, serve
from tests.rocklets import start_rocklet

SOKOBAN = "game:Sokoban-v0-easy"


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[m.RockletEndpoint]:
    """A rocklet that hosts environments."""
    (tmp_path / "home").mkdir()
    async with start_rocklet(sandbox_id="s1", home=tmp_path / "home", gem_python=need_gem()) as (url, token, _process):
        yield m.RockletEndpoint(sandbox_id="s1", url=url, token=token, alloc_id="a1")


@pytest.fixture
def pointed_to(gateway: WireServer, monkeypatch: pytest.MonkeyPatch) -> WireServer:
    """The environment points to the gateway, as a trainer's does."""
    monkeypatch.setenv("ROCK_BASE_URL", gateway.url.replace("://", "://x:secret@"))
    monkeypatch.setenv("ROCK_DIRECT", "always")
    return gateway


def _play(env: RockEnv, seed: int) -> list[tuple[str, float, bool, bool, dict[str, Any]]]:
    observation, info = env.reset(seed=seed)
    assert "Sokoban" in observation
    assert "board" in info["suffix"]
    steps = [env.step(r"\boxed{up}")]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(r"\boxed{left}"))
    return steps


@pytest.mark.slow
async def test_episodes_are_played_to_the_end(pointed_to: WireServer) -> None:
    # In another thread, because the gateway lives in this one's loop.
    await asyncio.to_thread(_play_episodes)
    specs = [seen.request.spec for seen in pointed_to.asked(CREATE_SANDBOX)]
    assert [(spec.cpus, spec.idle_timeout) for spec in specs] == [(ENV_SANDBOX.cpus, ENV_SANDBOX.idle_timeout)]
    assert len(pointed_to.asked(STOP_SANDBOX)) == 1


def _play_episodes() -> None:
    env = rock.make(SOKOBAN)
    assert isinstance(env, Env)
    assert (env.env_id, repr(env).startswith(f"RockEnv({SOKOBAN!r}, sandbox_id=")) == (SOKOBAN, True)
    first = _play(env, 1)
    assert len(first) == 20
    assert _play(env, 1) == first
    env.close()
    env.close()
    with pytest.raises(InvalidParameterRockException, match="closed"):
        env.step("up")


@pytest.mark.slow
async def test_an_unknown_environment_leaves_no_sandbox(pointed_to: WireServer) -> None:
    with pytest.raises(InvalidRequest, match=SOKOBAN):
        await asyncio.to_thread(rock.make, "game:Sokoban-v0")
    assert len(pointed_to.asked(STOP_SANDBOX)) == 1


@pytest.mark.slow
async def test_a_host_that_dies_is_an_error_of_the_infrastructure(pointed_to: WireServer) -> None:
    await asyncio.to_thread(_lose)
    assert len(pointed_to.asked(STOP_SANDBOX)) == 1


def _lose() -> None:
    with rock.make(SOKOBAN) as env:
        env.reset()
        os.kill(_host_below(_clocks(env).pid), signal.SIGKILL)
        with pytest.raises(EnvLost):
            env.step(r"\boxed{up}")


def _clocks(env: RockEnv) -> m.Clocks:
    return _portal.run(env._open_connection.call(GET_CLOCKS, m.Empty()))


def _host_below(rocklet: int) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and f"PPid:\t{rocklet}\n" in (entry / "status").read_text():
            return int(entry.name)
    raise AssertionError("no host")


@pytest.mark.slow
async def test_arguments_are_checked_before_anything_is_sent(pointed_to: WireServer) -> None:
    def misuse() -> None:
        with rock.make(SOKOBAN) as env:
            with pytest.raises(InvalidRequest, match="seed"):
                env.reset(seed=-1)
            with pytest.raises(InvalidRequest, match="action"):
                env.step(3)  # type: ignore[arg-type]  # the mistake that is tested

    await asyncio.to_thread(misuse)


async def test_a_start_that_fails_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(WireServer(is_gateway=True)) as gateway:
        monkeypatch.setenv("ROCK_BASE_URL", gateway.url)
        monkeypatch.setenv("ROCK_API_KEY", "secret")

        @gateway.answer(CREATE_SANDBOX)
        async def _(seen: Seen) -> m.SandboxStatus:
            raise StartFailed("no room")

        gateway.always(STOP_SANDBOX, running())
        with pytest.raises(StartFailed, match="no room"):
            await asyncio.to_thread(rock.make, SOKOBAN)


def test_where_nobody_answers_the_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCK_BASE_URL", refused_url())
    with pytest.raises(GatewayUnreachable):
        rock.make(SOKOBAN)


def test_keyword_arguments_are_not_taken_as_in_rock() -> None:
    with pytest.raises(TypeError):
        rock.make(SOKOBAN, seed=1)


def test_an_environments_interface_is_abstract() -> None:
    with pytest.raises(TypeError):
        Env()  # type: ignore[abstract]  # the mistake that is tested
