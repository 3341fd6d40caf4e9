"""A stand-alone program that holds GEM environments by name; run by a Python that has gem-llm, or so it is hoped.

It takes one JSON object a line on stdin and answers each, in order, with one on stdout: what was asked for, or
`{"error": {"kind": ...}}`.  It knows nothing of ours, nor we of what it imports.  At the end of stdin it ends.
"""

from __future__ import annotations

import difflib
import importlib
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, Protocol

__all__ = ["Answerer", "Host", "NoGem", "main", "serve"]

_NEAR = 5  # registered names that an error repeats
_CUTOFF = 0.4  # of likeness; names share much, such as `game:` and `-v0`
_TRACE_LINES = 12  # of a traceback, from its end


class UnknownEnvId(Exception):
    """No environment is registered by this name."""


class Answerer(Protocol):
    """Whoever answers requests."""

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What a request leads to."""
        ...


class NoGem:
    """Who answers for a Python that has no gem-llm."""

    def answer(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """That."""
        return {"error": {"kind": "no_gem"}}


class Host:
    """Environments by name.  `make` makes one of those that are `registered`."""

    def __init__(self, make: Callable[..., Any], registered: Iterable[str]) -> None:
        self._make = make
        self._registered = list(registered)
        self._envs: dict[str, Any] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What a request leads to; an error that an environment raises is an answer like others."""
        perform = {
            "make": self._perform_make,
            "reset": self._perform_reset,
            "step": self._perform_step,
            "close": self._perform_close,
            "list": self._perform_list,
        }[request["op"]]
        try:
            return perform(request)
        except UnknownEnvId as error:
            near = difflib.get_close_matches(str(error), self._registered, _NEAR, _CUTOFF)
            return {"error": {"kind": "unknown_env_id", "near": near}}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an environment raises is its own doing
            trace = traceback.format_exception(type(error), error, error.__traceback__)
            lines = "".join(trace).splitlines()[-_TRACE_LINES:]
            said = {"type": type(error).__name__, "message": _text(str(error)), "traceback": _text("\n".join(lines))}
            return {"error": {"kind": "raised", **said}}

    def _perform_make(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["env_id"] not in self._registered:
            raise UnknownEnvId(request["env_id"])
        self._envs[request["env"]] = self._make(request["env_id"], **request["kwargs"])
        return {}

    def _perform_reset(self, request: Mapping[str, Any]) -> dict[str, Any]:
        observation, info = self._envs[request["env"]].reset(seed=request["seed"])
        return {"observation": _text(str(observation)), "info": _to_json(info)}

    def _perform_step(self, request: Mapping[str, Any]) -> dict[str, Any]:
        observation, reward, terminated, truncated, info = self._envs[request["env"]].step(request["action"])
        if not math.isfinite(reward):
            raise ValueError(f"its reward is {reward}, which is no number")
        return {
            "observation": _text(str(observation)),
            "reward": float(reward),
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "info": _to_json(info),
        }

    def _perform_close(self, request: Mapping[str, Any]) -> dict[str, Any]:
        env = self._envs.pop(request["env"])
        if callable(close := getattr(env, "close", None)):  # GEM's own have none
            close()
        return {}

    def _perform_list(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {"env_ids": self._registered}


def _to_json(value: Any) -> Any:  # noqa: ANN401 - an environment's own words
    """A value as JSON can say it: NumPy's as Python's, and what it cannot say as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (int, float)):  # also a subclass, whose text JSON would take
        return int(value) if isinstance(value, int) else float(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_text(str(key)): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_to_json(item) for item in value]
    if callable(tolist := getattr(value, "tolist", None)):
        return _to_json(tolist())
    return _text(str(value))


def _text(text: str) -> str:
    """A text without lone surrogates, which UTF-8 cannot say."""
    return text.encode("utf-8", "backslashreplace").decode()


def serve(host: Answerer, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    for line in requests:
        answers.write(json.dumps(host.answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def _take_channels() -> tuple[BinaryIO, BinaryIO]:
    """Stdin and stdout for ourselves alone; environments, and what they start, get others in their place."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def main() -> int:
    """Serve GEM's environments."""
    requests, answers = _take_channels()
    serve(_find_gem(), requests, answers)
    return 0


def _find_gem() -> Answerer:
    try:
        gem = importlib.import_module("gem")
    except ModuleNotFoundError as error:
        if error.name != "gem":
            raise
        return NoGem()
    return Host(gem.make, importlib.import_module("gem.envs.registration").ENV_REGISTRY)


if __name__ == "__main__":
    sys.exit(main())
