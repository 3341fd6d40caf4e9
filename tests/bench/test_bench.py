"""That the benchmark runs; what it measures is no test's business."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from tests.bench.plot import render_plot
from tests.bench.report import Comparison, compare_memory, render_memory, render_table
from tests.bench.run import run_bench
from tests.bench.usage import Memory

EVERY_TITLE = ""


@pytest.mark.slow
async def test_every_case_is_measured_and_told_as_tables_as_json_and_as_a_plot() -> None:
    report = await run_bench([EVERY_TITLE], rounds=1, sessions=2, calls=1)
    told = msgspec.json.decode(msgspec.json.encode(report.to_json()))
    assert {each["verdict"] for each in told["ratios"] if each["target"]} <= {"met", "MISSED"}
    assert all(math.isfinite(each["ratio"]) and each["ratio"] > 0 for each in told["ratios"])
    assert {"SDK", "direct", "gateway", "rocklet"} <= {each["way"] for each in told["ratios"]}
    assert all(its["uss"] > 2**20 for its in told["loaded"].values())
    said = io.StringIO()
    console = Console(file=said, width=300)
    console.print(render_table(report.results), render_memory(report.started, report.idle, report.loaded))
    assert all(each["title"] in said.getvalue() for each in told["cases"])
    labels = [each.text for each in ElementTree.fromstring(render_plot(report.comparisons)).iter() if each.text]
    assert "command in a session: direct" in labels


@pytest.mark.parametrize(
    ("ratios", "target", "is_least", "verdict"),
    [
        ([1.0, 2.0, 9.0], 2.0, False, "met"),
        ([1.0, 2.1, 2.1], 2.0, False, "MISSED"),
        ([0.4, 0.5, 9.0], 0.5, True, "met"),
        ([0.4, 0.4, 9.0], 0.5, True, "MISSED"),
        ([100.0], None, False, ""),
    ],
)
def test_a_verdict_is_of_the_median_round(
    ratios: list[float], target: float | None, is_least: bool, verdict: str
) -> None:
    comparison = Comparison(title="t", name="n", ratios=ratios, target=target, is_least=is_least)
    assert comparison.verdict == verdict


def test_memory_is_held_against_the_bare_server() -> None:
    held = {
        name: [Memory(rss=9, uss=uss) for uss in sizes] for name, sizes in {"bare": [4, 2, 2], "rocklet": [3]}.items()
    }
    (comparison,) = compare_memory(held)
    assert (comparison.ratio, comparison.target, comparison.verdict) == (1.5, 1.5, "met")
