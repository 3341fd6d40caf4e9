"""`doctor`: is this cluster fit for sandboxes, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rock_nomad.cli.output import Format, FormatOption, out, print_json
from rock_nomad.config import load_cluster_config, load_gateway_config
from rock_nomad.doctor.checks import examine
from rock_nomad.doctor.facts import Facts
from rock_nomad.doctor.findings import Finding, Verdict, exit_code, some
from rock_nomad.doctor.isolation_checks import isolations_by_node
from rock_nomad.doctor.reading import read_facts
from rock_nomad.doctor.rights import consul_policy, nomad_policy

__all__ = ["COMMANDS"]

_MARKS = {
    Verdict.OK: "[green]ok[/]",
    Verdict.WARNING: "[yellow]warning[/]",
    Verdict.UNFIT: "[red]unfit[/]",
    Verdict.UNASKED: "[red]unasked[/]",
}


async def doctor(
    *,
    config: Annotated[Path | None, typer.Option(help="The gateway's configuration.")] = None,
    nomad: Annotated[str | None, typer.Option(metavar="URL", help="A Nomad server.")] = None,
    consul: Annotated[str | None, typer.Option(metavar="URL", help="A Consul agent.")] = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Look whether a cluster is fit for sandboxes; ends with 0 if it is, 1 if not, 2 if it cannot be asked."""
    agents = {name: {"url": url} for name, url in (("nomad", nomad), ("consul", consul)) if url}
    facts = await read_facts(load_gateway_config(config, agents) if config else load_cluster_config(agents))
    findings = examine(facts)
    code = exit_code(findings)
    by_node = isolations_by_node(facts)
    policies = _policies(facts, findings)
    if output is Format.JSON:
        print_json({"fit": code == 0, "findings": findings, "isolations": by_node, "policies": policies})
        return code
    _print_findings(findings)
    if facts.ready_nodes:
        _print_isolations(facts)
    for name, policy in policies.items():
        out.print(f"\n{name}:\n{policy}", markup=False)
    out.print(f"\n{_SUMMARIES[code]}")
    return code


_SUMMARIES = {0: "fit for sandboxes", 1: "[red]not fit for sandboxes[/]", 2: "[red]not everybody could be asked[/]"}


def _print_findings(findings: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in findings:
        table.add_row(_MARKS[finding.verdict], finding.subject, _escaped(finding.sentence))
        if finding.remedy:
            table.add_row("", "", f"[dim]→ {_escaped(finding.remedy)}[/]")
    out.print(table)


def _print_isolations(facts: Facts) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("isolation", "offered", "nodes that have it", "others"):
        table.add_column(column, no_wrap=column in ("isolation", "offered"))
    for isolation, lacks in isolations_by_node(facts).items():
        by_lack: dict[str, list[str]] = {}
        for node, lack in lacks.items():
            by_lack.setdefault(lack, []).append(node)
        able = some(by_lack.pop("", [])) or "none"
        others = "; ".join(f"{some(nodes)}: {lack}" for lack, nodes in by_lack.items())
        table.add_row(isolation, "yes" if isolation in facts.profile.isolations else "no", able, _escaped(others))
    out.print()
    out.print(table)


def _policies(facts: Facts, findings: Sequence[Finding]) -> dict[str, str]:
    """The policies that grant what is missing, by the name of their file."""
    lacking = {finding.subject for finding in findings if finding.verdict is Verdict.UNFIT}
    policies = {}
    if "nomad rights" in lacking:
        policies["acl-nomad.hcl"] = nomad_policy(facts.profile)
    if "consul rights" in lacking:
        policies["acl-consul.hcl"] = consul_policy()
    return policies


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


COMMANDS = (doctor,)
