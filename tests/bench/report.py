"""What was measured: for people a table, for programs JSON."""

from __future__ import annotations

import math
import operator
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from rock_nomad.bench.load import Measured, Round
from tests.bench.cases import Case
from tests.bench.usage import Memory

__all__ = ["Comparison", "Result", "compare_memory", "describe_machine", "render_memory", "render_table", "to_json"]

_COLUMNS = ("what", "way", "ms", "p99 ms", "calls/s", "CPU ms here", "there")
_RATIOS = ("p10", "CPU", "ratio", "of rounds", "target", "")
_FLOOR = ("1", "1", "1", "", "", "")
_USS_TARGET = {"rocklet": 1.5}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One subject against its floor."""

    title: str
    name: str
    ratios: Sequence[float]
    """Of the rounds."""
    target: float | None
    is_least: bool = False
    """Whether the target is what the ratio has to reach, and not what it may not exceed."""

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        """Whether the target is met; empty: there is none."""
        if self.target is None:
            return ""
        is_met = self.ratio >= self.target if self.is_least else self.ratio <= self.target
        return "met" if is_met else "MISSED"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A case, measured."""

    case: Case
    floors: Sequence[Measured]
    subjects: Sequence[Measured]

    def compare(self) -> list[Comparison]:
        """Each subject against the sum of the floors, round by round."""
        read = operator.attrgetter(self.case.kind)
        floors = [sum(map(read, rounds)) for rounds in zip(*(floor.rounds for floor in self.floors), strict=True)]
        # Who is too slow for rounds has a single one.
        return [
            Comparison(
                title=self.case.title,
                name=subject.name,
                ratios=[read(its) / floor for its, floor in zip(subject.rounds, floors, strict=False)],
                target=self.case.targets.get(subject.name),
                is_least=self.case.kind == "rate",
            )
            for subject in self.subjects
        ]


def compare_memory(started: Mapping[str, Sequence[Memory]]) -> list[Comparison]:
    """The USS of each program after its first command, against the median of the first program's."""
    if not started:
        return []
    (_, floors), *others = started.items()
    floor = statistics.median(each.uss for each in floors)
    return [
        Comparison(title="USS", name=name, ratios=[each.uss / floor for each in held], target=_USS_TARGET.get(name))
        for name, held in others
    ]


def describe_machine() -> dict[str, Any]:
    """Where it was measured; without this no figure means anything."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "scheduling": "normal" if os.sched_getscheduler(0) == os.SCHED_OTHER else "ahead of the rest of the machine",
        "loop": "uvloop: floors, ours, and the load generator; asyncio's own: peers, which ship without uvloop",
        "cluster": "embedded",
        "command": sys.argv[1:],
    }


# ---------------------------------------------------------------------------------------------------------- tables


def render_table(results: Sequence[Result]) -> Table:
    """Every case: its floor, then who is held against it; the last ratio is the one that counts."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (*_COLUMNS, *_RATIOS):
        table.add_column(column, justify="left" if column in {"what", "way", ""} else "right", no_wrap=True)
    for result in results:
        floors = result.floors
        names = " + ".join(floor.name for floor in floors)
        table.add_row(result.case.title, names, *_figures(floors), *_FLOOR, style="dim")
        for subject, comparison in zip(result.subjects, result.compare(), strict=True):
            table.add_row("", subject.name, *_figures([subject]), *_others(floors, subject), *_verdict(comparison))
    return table


def render_memory(
    started: Mapping[str, Sequence[Memory]], idle: Mapping[str, Memory], loaded: Mapping[str, Memory]
) -> Table:
    """In MiB: each program after its first command; and the servers of this run before the cases and after them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("memory, MiB", "RSS", "USS", "RSS later", "USS later", "ratio", "of starts", "target", ""):
        table.add_column(column, justify="left" if column in {"memory, MiB", ""} else "right", no_wrap=True)
    for name, before in idle.items():
        table.add_row(f"{name}, in this run", *_mib(before), *_mib(loaded[name]), "", "", "", "")
    comparisons = {each.name: each for each in compare_memory(started)}
    for name, held in started.items():
        median = sorted(held, key=operator.attrgetter("uss"))[len(held) // 2]
        verdict = _verdict(comparisons[name]) if name in comparisons else ("1", "", "", "")
        table.add_row(f"{name}, after its first command", *_mib(median), "", "", *verdict)
    return table


def _figures(measured: Sequence[Measured]) -> Iterator[str]:
    """Of one subject, or of floors that add up."""
    for name in ("p50", "p99"):
        yield f"{sum(each.median(operator.attrgetter(name)) for each in measured) * 1e3:.2f}"
    yield f"{measured[0].median(operator.attrgetter('rate')):.0f}" if len(measured) == 1 else ""
    for name in ("client_cpu", "server_cpu"):
        known = [cpu for each in measured if not math.isnan(cpu := each.mean(operator.attrgetter(name)))]
        yield f"{sum(known) * 1e3:.2f}" if known else ""


def _others(floors: Sequence[Measured], subject: Measured) -> Iterator[str]:
    """Ratios that a busy machine disturbs less: of the quickest tenth of calls, and of both sides' CPU."""
    p10 = operator.attrgetter("p10")
    yield f"{subject.median(p10) / sum(floor.median(p10) for floor in floors):.2f}"
    yield f"{_cpu([subject]) / _cpu(floors):.2f}" if _cpu(floors) and _cpu([subject]) else ""


def _cpu(measured: Sequence[Measured]) -> float:
    """A call's, on both sides together; 0 where a side is unknown."""
    sides = [each.mean(operator.attrgetter(name)) for each in measured for name in ("client_cpu", "server_cpu")]
    return 0.0 if any(map(math.isnan, sides)) else sum(sides)


def _verdict(comparison: Comparison) -> tuple[str, str, str, str]:
    low, high = min(comparison.ratios), max(comparison.ratios)
    sign = ">=" if comparison.is_least else "<="
    target = "" if comparison.target is None else f"{sign} {comparison.target:g}"
    return _short(comparison.ratio), f"{_short(low)}-{_short(high)}", target, comparison.verdict


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.1g}"


def _mib(memory: Memory) -> tuple[str, str]:
    return f"{memory.rss / 2**20:.1f}", f"{memory.uss / 2**20:.1f}"


# ------------------------------------------------------------------------------------------------------------ JSON


def to_json(results: Sequence[Result], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """All that the tables show and each round by itself; seconds and calls per second."""
    return {
        "cases": [
            {
                "title": result.case.title,
                "compared": result.case.kind,
                "sessions": result.case.sessions,
                "floors": {each.name: list(map(_round, each.rounds)) for each in result.floors},
                "subjects": {each.name: list(map(_round, each.rounds)) for each in result.subjects},
            }
            for result in results
        ],
        "ratios": [
            {
                "what": each.title,
                "way": each.name,
                "ratio": each.ratio,
                "of_rounds": list(each.ratios),
                "target": each.target,
                "verdict": each.verdict,
            }
            for each in comparisons
        ],
    }


def _round(played: Round) -> dict[str, float | None]:
    figures = {name: getattr(played, name) for name in ("p10", "p50", "p99", "rate", "client_cpu", "server_cpu")}
    known = {name: None if math.isnan(value) else value for name, value in figures.items()}
    return {"calls": len(played.times), **known}
