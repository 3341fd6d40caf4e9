"""Timing two things side by side, round by round, so that a noisy machine is noisy for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

__all__ = ["Action", "Sample", "time_rounds"]

Action = Callable[[], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one action cost."""

    name: str
    medians: list[float]
    """Of each round, in seconds."""
    p99: float
    """Of all calls, in seconds."""

    @property
    def median(self) -> float:
        """Median of the rounds' medians, in seconds."""
        return statistics.median(self.medians)

    @property
    def spread(self) -> float:
        """Largest round over smallest: how far this machine can be trusted."""
        return max(self.medians) / min(self.medians)


async def time_rounds(actions: Mapping[str, Action], *, calls: int, rounds: int = 5) -> dict[str, Sample]:
    """Time each action `calls` times a round, in turn.  The first call of each is not counted."""
    times: dict[str, list[list[float]]] = {name: [] for name in actions}
    for action in actions.values():
        await action()
    for _ in range(rounds):
        for name, action in actions.items():
            times[name].append([await _time_one(action) for _ in range(calls)])
    return {name: _sample(name, of_rounds) for name, of_rounds in times.items()}


async def _time_one(action: Action) -> float:
    begun = time.perf_counter()
    await action()
    return time.perf_counter() - begun


def _sample(name: str, rounds: list[list[float]]) -> Sample:
    calls = sorted(call for each in rounds for call in each)
    return Sample(
        name=name, medians=[statistics.median(each) for each in rounds], p99=calls[int(0.99 * (len(calls) - 1))]
    )
