"""One run of the benchmark: every case on one stage, and what the servers held before and after."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rock_nomad.bench.load import measure
from tests.bench.cases import Case, all_cases
from tests.bench.report import Comparison, Result, compare_memory, describe_machine, to_json
from tests.bench.stage import Stage, open_stage, session_name
from tests.bench.subjects import Subjects
from tests.bench.usage import Memory, read_memory
from tests.bench.wakeups import measure_wakeups

__all__ = ["Report", "run_bench"]

_WAKEUPS = "wakeups"


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a run has found."""

    machine: dict[str, Any]
    results: Sequence[Result]
    started: dict[str, list[Memory]]
    """By program: what each one that was started held after its first command."""
    idle: dict[str, Memory]
    """By server of the run: what it held with its sessions, before the first case."""
    loaded: dict[str, Memory]
    """And after the last."""
    wakeups: Sequence[float]
    """Seconds, shortest first."""

    @property
    def comparisons(self) -> list[Comparison]:
        """Of all cases and of memory."""
        return [*(each for result in self.results for each in result.compare()), *compare_memory(self.started)]

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        parts = {name: getattr(self, name) for name in ("machine", "started", "idle", "loaded", "wakeups")}
        return parts | to_json(self.results, self.comparisons)


async def run_bench(
    words: Sequence[str], *, with_peers: bool = False, rounds: int = 5, sessions: int = 32, calls: int | None = None
) -> Report:
    """Measure the cases whose titles hold one of the words; without words, all.

    `calls` caps what each case makes in a round.
    """
    machine = describe_machine()
    async with open_stage(sessions=sessions, with_peers=with_peers) as stage:
        idle, subjects, results = _read_memory(stage), Subjects(stage=stage), []
        for case in all_cases(subjects):
            if not words or any(word in case.title for word in words):
                print(f"measuring: {case.title}", file=sys.stderr)
                limited = case if calls is None else dataclasses.replace(case, calls=min(calls, case.calls))
                results.append(await _measure(limited, rounds))
        wanted = not words or _WAKEUPS in words
        return Report(
            machine=machine,
            results=results,
            started=subjects.memory,
            idle=idle,
            loaded=_read_memory(stage),
            wakeups=await measure_wakeups(stage.sandbox, session_name(0)) if wanted else [],
        )


async def _measure(case: Case, rounds: int) -> Result:
    with case.conditions():
        measured = await measure(
            [*case.floors, *case.subjects], calls=case.calls, sessions=case.sessions, rounds=rounds
        )
    count = len(case.floors)
    return Result(case=case, floors=measured[:count], subjects=measured[count:])


def _read_memory(stage: Stage) -> dict[str, Memory]:
    """Of the first process of each."""
    return {name: read_memory(pids[0]) for name, pids in stage.pids.items() if name != "SDK"}
