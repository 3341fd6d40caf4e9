"""`python -m tests.bench [CASE...]`: every case, or those whose titles hold one of the words, against its floor.

Prints what each costs and whether its target is met, and writes the same as JSON and a plot.  `--peers` measures
SWE-ReX's and ROCK's own servers along.

On a machine that others use, `chrt -r 1 python -m tests.bench CASE...` puts all of it, floors too, ahead of them.  Only
the case under CPU load then measures nothing, for its load is ahead as well.

`wakeups` is one more: how soon after its end a background command's caller goes on.  `memory`, alone, is another: what
a gateway holds, idle and with 200 sandboxes; it takes minutes.  So is `containers`: how soon a sandbox in a container
answers, on each kind of cluster, against `docker run`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from tests.bench.containers import AT_ONCE, measure_containers
from tests.bench.memory import SANDBOXES, measure_memory
from tests.bench.peers import PeerMissing
from tests.bench.plot import render_plot
from tests.bench.report import render_memory, render_table
from tests.bench.run import Report, run_bench
from tests.bench.wakeups import COUNT
from tests.cluster import missing_parts
from tests.needs import KINDS

_MEMORY = "memory"
_CONTAINERS = "containers"


def _main(arguments: argparse.Namespace) -> None:
    if arguments.cases == [_MEMORY]:
        for kind in KINDS:
            if missing_parts(kind) is None:
                idle, full = (size / 2**20 for size in uvloop.run(measure_memory(kind)))
                print(f"a gateway's memory, {kind}: idle {idle:.0f} MiB, with {SANDBOXES} sandboxes {full:.0f} MiB")
    elif arguments.cases == [_CONTAINERS]:
        _print_containers(uvloop.run(measure_containers()))
    else:
        report = uvloop.run(_run(arguments))
        _print(report)
        _write(report, arguments.folder)


async def _run(arguments: argparse.Namespace) -> Report:
    """As Ctrl-C does, a SIGTERM ends what was started: all of it would outlive this process."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_bench(arguments.cases, with_peers=arguments.peers, rounds=arguments.rounds)


def _print_containers(medians: dict[str, tuple[float, float]]) -> None:
    floor, crowded = medians["docker run"]
    for name, (alone, crowd) in medians.items():
        ratios = f"{alone / floor:.2f} and {crowd / crowded:.2f} times docker run"
        print(f"{name}: answers after {alone:.2f} s, {AT_ONCE} at once after {crowd:.2f} s; {ratios}")


def _print(report: Report) -> None:
    console = Console(width=185)
    for name, value in report.machine.items():
        console.print(f"{name}: {value}", highlight=False)
    if report.results:
        console.print(render_table(report.results))
        console.print(render_memory(report.started, report.idle, report.loaded))
    if report.wakeups:
        median, p99 = (report.wakeups[len(report.wakeups) * part // 100] * 1e3 for part in (50, 99))
        console.print(f"{COUNT} background commands at once: woken {median:.1f} ms after their end, p99 {p99:.1f} ms")
    missed = [f"{each.title} ({each.name}) {each.ratio:.2f}" for each in report.comparisons if each.verdict == "MISSED"]
    console.print(f"missed: {', '.join(missed) or 'nothing'}", highlight=False)


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / time.strftime("%Y%m%d-%H%M%S")
    base.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(report.to_json()), indent=1))
    base.with_suffix(".svg").write_text(render_plot(report.comparisons))
    print(f"written: {base}.json, {base}.svg", file=sys.stderr)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What calls cost, beside their floors.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="a word of the cases' titles; none: all")
    parser.add_argument("--peers", action="store_true", help="measure SWE-ReX and ROCK's rocklet along")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(".cache/bench"), help="where JSON and plot go")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        _main(_parse())
    except PeerMissing as error:
        sys.exit(str(error))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
