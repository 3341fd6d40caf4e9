"""ROCK's GEM wire, spoken as ROCK's client speaks it, to a gateway over a cluster with real environments."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rock.wire.errors import CODES, RockException
from rock.wire.messages import State
from rock.wire.operations import LIST_SANDBOXES
from rock_nomad.gateway.dialects.gem import Gem
from tests.cluster import Cluster
from tests.gateways import Gateway, start_gateway
from tests.gems import need_gem
from tests.rl_rock import rl_rock_python, run_sample
from tests.spoiling import anything

SOKOBAN = "game:Sokoban-v0-easy"
CALLS = ("make", "reset", "step", "close", "list")


@pytest.mark.parametrize("error", CODES.values(), ids=lambda error: str(error.error))
def test_no_error_is_a_500(error: type[RockException]) -> None:
    reply = Gem().encode_error(error("said"), error.status, "r1")
    assert 400 <= reply.status < 500 or reply.status in (502, 503, 504)
    assert isinstance(reply.body, bytes)
    said = json.loads(reply.body)
    assert list(said) == ["detail"]
    assert "said" in said["detail"]
    assert "request r1" in said["detail"]


@pytest.fixture
async def gateway(embedded: Cluster) -> AsyncIterator[Gateway]:
    """A gateway whose sandboxes host environments."""
    async with start_gateway(embedded, env={"ROCKLET_GEM_PYTHON": need_gem()}) as gateway:
        yield gateway


@pytest.fixture
async def gateway_of_each_kind(cluster: Cluster) -> AsyncIterator[Gateway]:
    """The same, over a cluster of each kind."""
    async with start_gateway(cluster, env={"ROCKLET_GEM_PYTHON": need_gem()}) as gateway:
        yield gateway


async def _post(gateway: Gateway, call: str, body: object, **headers: str) -> tuple[int, Any]:
    """A call as ROCK's client makes it: the key is the password in its address."""
    basic = base64.b64encode(f"x:{gateway.key}".encode()).decode()
    shown = {"Authorization": f"Basic {basic}", "Content-Type": "application/json", **headers}
    url = f"{gateway.url}/apis/v1/envs/gem/{call}"
    async with gateway.session.post(url, data=json.dumps(body).encode(), headers=shown) as reply:
        return reply.status, json.loads(await reply.read())


async def _living(gateway: Gateway) -> int:
    return sum(state is not State.STOPPED for state in await _states(gateway))


async def _states(gateway: Gateway) -> list[State]:
    return [each.state for each in (await gateway.call(LIST_SANDBOXES)).sandboxes]


@pytest.mark.slow
async def test_sokoban_is_played_to_the_end_of_an_episode(gateway_of_each_kind: Gateway) -> None:
    gateway = gateway_of_each_kind
    status, made = await _post(gateway, "make", {"env_id": SOKOBAN, "session": "ignored"})
    assert (status, list(made)) == (200, ["sandbox_id"])
    status, start = await _post(gateway, "reset", {**made, "seed": 42, "session": "ignored"})
    assert (status, sorted(start)) == (200, ["info", "observation"])
    assert "suffix" in start["info"]
    steps: list[dict[str, Any]] = []
    while not steps or not (steps[-1]["terminated"] or steps[-1]["truncated"]):
        status, step = await _post(gateway, "step", {**made, "action": r"\boxed{up}"})
        assert (status, sorted(step)) == (200, ["info", "observation", "reward", "terminated", "truncated"])
        steps.append(step)
    assert len(steps) == 20
    status, listed = await _post(gateway, "list", made)
    assert SOKOBAN in listed["env_id"]
    assert await _post(gateway, "close", made) == (200, made)
    assert await _living(gateway) == 0
    assert await _post(gateway, "close", made) == (200, made)
    status, refused = await _post(gateway, "step", {**made, "action": "up"})
    assert (status, "has ended" in refused["detail"]) == (410, True)


@pytest.mark.slow
@pytest.mark.parametrize("client", ["rl-rock", "ours"])
async def test_the_program_of_rocks_examples_runs_with_either_client(
    gateway: Gateway, tmp_path: Path, client: str
) -> None:
    python = rl_rock_python() if client == "rl-rock" else Path(sys.executable)
    status, said = await run_sample("sokoban.py", gateway, folder=tmp_path, python=python)
    assert status == 0, said
    assert re.search(r"ends after \d+ steps with reward", said)
    assert await _living(gateway) == 0


@pytest.mark.slow
async def test_an_unknown_environment_leaves_no_sandbox(gateway: Gateway) -> None:
    status, refused = await _post(gateway, "make", {"env_id": "game:Sokoban-v0"})
    assert (status, SOKOBAN in refused["detail"]) == (400, True)
    assert await _living(gateway) == 0


@pytest.mark.slow
async def test_a_caller_that_goes_away_leaves_no_sandbox(gateway: Gateway) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await _post(gateway, "make", {"env_id": SOKOBAN})
    async with asyncio.timeout(60):
        while await _states(gateway) != [State.STOPPED]:  # noqa: ASYNC110 - what is done for nobody tells nobody
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "body", "status", "said"),
    [
        ("make", {}, 400, "env_id"),
        ("make", {"env_id": 7}, 400, "env_id"),
        ("reset", {"sandbox_id": ""}, 400, "sandbox_id"),
        ("reset", {"sandbox_id": "Not_An_Id"}, 400, "sandbox_id"),
        ("reset", {"sandbox_id": "unknown"}, 404, "no sandbox unknown"),
        ("reset", {"sandbox_id": "unknown", "seed": -1}, 400, "seed"),
        ("step", {"sandbox_id": "unknown"}, 400, "action"),
        ("step", {"sandbox_id": "unknown", "action": None}, 400, "action"),
        ("close", {"sandbox_id": "unknown"}, 404, "no sandbox unknown"),
        ("list", {}, 400, "sandbox_id"),
        ("nothing", {}, 404, "/apis/v1/envs/gem/nothing"),
    ],
)
async def test_a_bad_call_is_told_what_is_wrong(
    gateway: Gateway, call: str, body: object, status: int, said: str
) -> None:
    answered, refused = await _post(gateway, call, body)
    assert (answered, list(refused)) == (status, ["detail"])
    assert said in refused["detail"]


@pytest.mark.slow
async def test_a_key_is_needed_and_json_must_be_declared(gateway: Gateway) -> None:
    assert (await _post(gateway, "make", {"env_id": SOKOBAN}, Authorization="Basic eDp3cm9uZw=="))[0] == 401
    assert (await _post(gateway, "make", {"env_id": SOKOBAN}, **{"Content-Type": "text/plain"}))[0] == 400
    async with gateway.session.get(f"{gateway.url}/apis/v1/envs/gem/make", headers={"X-API-Key": gateway.key}) as reply:
        assert (reply.status, list(await reply.json())) == (405, ["detail"])


@pytest.mark.slow
async def test_whatever_is_asked_is_refused_in_words(gateway: Gateway) -> None:
    names = st.sampled_from(["env_id", "sandbox_id", "seed", "action", "x"])
    calls: list[tuple[str, object]] = []

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(call=st.sampled_from(CALLS), body=anything | st.dictionaries(names, anything))
    def draw_all(call: str, body: object) -> None:
        # A make that turns out valid would start a sandbox.
        calls.append((call, {**body, "env_id": 1} if call == "make" and isinstance(body, dict) else body))

    draw_all()
    for call, body in calls:
        status, refused = await _post(gateway, call, body)
        assert (400 <= status < 500, list(refused)) == (True, ["detail"]), (call, body, refused)
