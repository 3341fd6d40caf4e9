from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rocklet.envhost import host as host_module
from rocklet.envhost.host import Host, NoGem, serve


class Number:
    """A stand-in for NumPy's scalars and arrays."""

    def __init__(self, value: object) -> None:
        self.value = value

    def tolist(self) -> object:
        return self.value

    def __float__(self) -> float:
        return float(str(self.value))


class Countdown:
    """An environment that ends after so many steps, and does whatever an action says."""

    def __init__(self, steps: int = 2) -> None:
        self.left = steps

    def reset(self, seed: int | None = None) -> tuple[str, dict[str, Any]]:
        return "begin", {"seed": seed, "at": Number([1, 2])}

    def step(self, action: str) -> tuple[Any, Any, Any, Any, dict[Any, Any]]:
        if action == "raise":
            raise KeyError("no such move")
        if action == "exit":
            sys.exit(3)
        self.left -= 1
        reward = float("nan") if action == "nan" else Number(0.5)
        info = {"suffix": "\ud800", 1: {2}, "inf": float("inf"), "none": None, "path": Path("/x")}
        return action, reward, self.left <= 0, Number(0).value, info


def make(env_id: str, **kwargs: Any) -> Countdown:  # noqa: ANN401 - a constructor's
    return Countdown(**kwargs)


@pytest.fixture
def host() -> Host:
    made = Host(make, ["game:Countdown-v0", "game:Countdown-v0-hard", "rg:other"])
    assert made.answer({"op": "make", "env": "a", "env_id": "game:Countdown-v0", "kwargs": {}}) == {}
    return made


def step(host: Host, action: str, env: str = "a") -> dict[str, Any]:
    return host.answer({"op": "step", "env": env, "action": action})


def test_an_episode_is_told_in_json(host: Host) -> None:
    assert host.answer({"op": "reset", "env": "a", "seed": 7}) == {
        "observation": "begin",
        "info": {"seed": 7, "at": [1, 2]},
    }
    first = step(host, "up")
    info = {"suffix": "\\ud800", "1": [2], "inf": "inf", "none": None, "path": "/x"}
    assert first == {"observation": "up", "reward": 0.5, "terminated": False, "truncated": False, "info": info}
    assert step(host, "up")["terminated"] is True


def test_environments_do_not_meet(host: Host) -> None:
    host.answer({"op": "make", "env": "b", "env_id": "game:Countdown-v0", "kwargs": {"steps": 1}})
    assert step(host, "up", "b")["terminated"] is True
    assert step(host, "up", "a")["terminated"] is False
    assert host.answer({"op": "close", "env": "b"}) == {}
    assert step(host, "up", "a")["terminated"] is True


def test_an_unknown_name_is_answered_with_near_ones(host: Host) -> None:
    answer = host.answer({"op": "make", "env": "b", "env_id": "game:Countdown", "kwargs": {}})
    assert answer == {"error": {"kind": "unknown_env_id", "near": ["game:Countdown-v0", "game:Countdown-v0-hard"]}}


@pytest.mark.parametrize(
    ("action", "kind", "said"),
    [("raise", "KeyError", "no such move"), ("exit", "SystemExit", "3"), ("nan", "ValueError", "no number")],
)
def test_what_an_environment_raises_is_an_answer(host: Host, action: str, kind: str, said: str) -> None:
    error = step(host, action)["error"]
    assert (error["kind"], error["type"]) == ("raised", kind)
    assert said in error["message"]
    assert "Traceback" not in error["message"]
    assert kind in error["traceback"]


def test_a_constructors_refusal_is_an_answer_and_leaves_no_environment(host: Host) -> None:
    asked = {"op": "make", "env": "b", "env_id": "game:Countdown-v0", "kwargs": {"colour": 1}}
    assert host.answer(asked)["error"]["type"] == "TypeError"
    assert step(host, "up", "b")["error"]["type"] == "KeyError"


def test_each_line_is_answered_by_one(host: Host) -> None:
    answers = io.BytesIO()
    serve(host, io.BytesIO(b'{"op": "list"}\n{"op": "close", "env": "a"}\n'), answers)
    first, second = answers.getvalue().splitlines()
    assert json.loads(first)["env_ids"][2] == "rg:other"
    assert json.loads(second) == {}


def test_a_python_without_gem_says_so() -> None:
    assert NoGem().answer({"op": "list"}) == {"error": {"kind": "no_gem"}}


@pytest.mark.slow
def test_what_an_environment_prints_does_not_reach_the_channel() -> None:
    program = (
        f"import sys, runpy; sys.path.insert(0, {str(Path(host_module.__file__).parent)!r})\n"
        "import host, os\nrequests, answers = host._take_channels()\n"
        "print('noise', flush=True); os.system('echo more noise')\n"
        "assert sys.stdin.read() == ''\n"
        "host.serve(host.Host(None, ['x']), requests, answers)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], input=b'{"op": "list"}\n', capture_output=True, check=True)
    assert json.loads(ran.stdout) == {"env_ids": ["x"]}
    assert ran.stderr == b"noise\nmore noise\n"
