from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rock_nomad.doctor.checks import examine
from rock_nomad.doctor.facts import Facts, FileFacts, Rights, Unread
from rock_nomad.doctor.findings import exit_code
from rock_nomad.records import EMBEDDED
from rock_nomad.shipped import shipped_file
from tests.cluster import missing_parts
from tests.rock_nomad.doctor.samples import make_facts, said
from tests.rock_nomad.samples import recording

DENIED = Unread(why="nomad refuses the gateway's token", is_denied=True)


def _nomad(block: str, **changed: object) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(recording("doctor-server")["config"])
    config[block].update(changed)
    return config


def _consul(**changed: object) -> dict[str, Any]:
    agent: dict[str, Any] = copy.deepcopy(recording("doctor-consul"))
    agent["DebugConfig"].update(changed)
    return agent


def _scheduler(**changed: object) -> dict[str, Any]:
    return {**recording("doctor-scheduler")["SchedulerConfig"], **changed}


def _file(name: str, *, is_secret: bool, mode: int | None = 0o600, complaint: str = "") -> FileFacts:
    return FileFacts(path=Path("/etc") / name, is_secret=is_secret, mode=mode, complaint=complaint)


def test_of_a_cluster_in_which_all_is_well_all_is_said_to_be_well() -> None:
    files = [_file("secret", is_secret=True), _file("keys.yaml", is_secret=False, mode=0o644)]
    findings = examine(make_facts(files=files))
    assert said(findings) == []
    assert exit_code(findings) == 0
    assert {"nomad", "consul", "nodes", "clocks", "files"} <= {each.subject for each in findings}


@pytest.mark.parametrize(
    ("facts", "verdict", "subject", "sentence"),
    [
        (
            make_facts(nomad=_nomad("Version", Version="1.11.1")),
            "unfit",
            "nomad",
            "1.11.1 at http://127.0.0.1:4646 does not limit a batch job's time",
        ),
        (
            make_facts(consul={**_consul(), "Config": {"Version": "1.7.4"}}),
            "unfit",
            "consul",
            "1.7.4 at http://127.0.0.1:8500: Nomad registers no services with it",
        ),
        (
            make_facts(nomad_rights=Rights(missing=["plan-job", "node read"])),
            "unfit",
            "nomad rights",
            "the token may not: plan-job, node read",
        ),
        (
            make_facts(nomad_rights=Rights(missing=[], complaint="node_pool does not exist")),
            "unfit",
            "namespace default, pool default",
            "node_pool does not exist",
        ),
        (
            make_facts(nomad=_nomad("ACL", Enabled=False)),
            "warning",
            "nomad rights",
            "Nomad's ACLs are off: whoever reaches its port, sandboxes included, may run anything on any node",
        ),
        (
            make_facts(consul_rights=Rights(missing=["service rocklet- read"])),
            "unfit",
            "consul rights",
            "the token may not: service rocklet- read; Consul shows it empty lists, as if no sandbox were there",
        ),
        (
            make_facts(consul_rights=Unread(why="ACL not found", is_denied=True)),
            "unfit",
            "consul rights",
            "ACL not found",
        ),
        (
            make_facts(consul=_consul(ACLsEnabled=False)),
            "warning",
            "consul rights",
            "Consul's ACLs are off: whoever reaches its port can pose as a sandbox",
        ),
        (
            make_facts(nomad=_nomad("Limits", HTTPMaxConnsPerClient=50)),
            "unfit",
            "connections",
            "too few are granted to one address: nomad 50 (a gateway opens 63), consul 200 (a gateway opens 96)",
        ),
        (
            make_facts(nomad=_nomad("Server", Enabled=False)),
            "warning",
            "server settings",
            "the agent asked is no server",
        ),
        (
            make_facts(nomad=_nomad("Server", EnableEventBroker=False)),
            "unfit",
            "server settings",
            "the event stream is off: nobody is told that a waiting sandbox has started",
        ),
        (
            make_facts(nomad=_nomad("Server", EventBufferSize=100)),
            "warning",
            "server settings",
            "event_buffer_size is 100: a gateway whose stream is cut under load reads everything anew",
        ),
        (
            make_facts(nomad=_nomad("Server", JobGCThreshold="1m30s")),
            "warning",
            "server settings",
            "an ended sandbox can be asked about for 1m30s (job_gc_threshold); then nobody knows why it ended",
        ),
        (
            make_facts(scheduler=_scheduler(RejectJobRegistration=True)),
            "unfit",
            "scheduler",
            "it places nothing: the broker is paused, or registration is refused",
        ),
        (
            make_facts(scheduler=_scheduler(PreemptionConfig={"BatchSchedulerEnabled": True})),
            "warning",
            "scheduler",
            "batch jobs preempt: a job of higher priority ends sandboxes, which then say `preempted`",
        ),
        (
            make_facts(scheduler=DENIED),
            "warning",
            "scheduler",
            "preemption and memory oversubscription are not for this token to see",
        ),
        (
            make_facts(files=[_file("secret", is_secret=True, mode=0o640)]),
            "warning",
            "files",
            "others on this machine can read or change secret",
        ),
        (
            make_facts(files=[_file("keys.yaml", is_secret=False, mode=0o664)]),
            "warning",
            "files",
            "others on this machine can read or change keys.yaml",
        ),
        (
            make_facts(files=[_file("secret", is_secret=True, mode=None, complaint="secret: cannot be read")]),
            "unfit",
            "files",
            "secret: cannot be read",
        ),
    ],
)
def test_what_is_wrong_is_said_alone_and_with_a_remedy(facts: Facts, verdict: str, subject: str, sentence: str) -> None:
    findings = examine(facts)
    assert said(findings) == [(verdict, subject, sentence)]
    assert all(bool(each.remedy) == (each.verdict.value != "ok") for each in findings)


@pytest.mark.parametrize("agent", ["nomad", "consul"])
def test_an_agent_that_does_not_answer_is_named_and_not_judged(agent: str) -> None:
    silent = Unread(why=f"{agent} does not answer")
    unread: dict[str, Any] = {agent: silent, f"{agent}_rights": silent}
    if agent == "nomad":
        unread |= {"scheduler": silent, "nodes": silent}
    findings = examine(make_facts(**unread))
    assert said(findings) == [("unasked", agent, f"{agent} does not answer")]
    assert exit_code(findings) == 2


@pytest.mark.parametrize("agent", ["nomad", "consul"])
def test_an_agent_that_keeps_its_version_to_itself_is_fit_for_all_else(agent: str) -> None:
    denied: dict[str, Any] = {agent: DENIED}
    findings = examine(make_facts(**denied))
    assert [each[:2] for each in said(findings)] == [("warning", agent)]


def test_the_embedded_cluster_has_no_settings_of_nomads() -> None:
    nomad = {"Version": {"Version": EMBEDDED}}
    findings = examine(make_facts(nomad=nomad, consul={"Config": {"Version": EMBEDDED}}, scheduler={}))
    assert said(findings) == []
    assert "embedded: not applicable" in [each.sentence for each in findings]


@pytest.mark.parametrize(
    ("kept", "is_long"), [("", True), ("15m", True), ("1h30m0s", True), ("9m59s", False), ("x", True)]
)
def test_how_long_ended_jobs_are_kept_is_read_as_nomad_writes_it(kept: str, is_long: bool) -> None:
    findings = examine(make_facts(nomad=_nomad("Server", JobGCThreshold=kept)))
    assert (said(findings) == []) is is_long


@pytest.mark.slow
@pytest.mark.parametrize("name", ["server.hcl", "client.hcl"])
def test_the_files_that_remedies_name_are_good_configurations(name: str, tmp_path: Path) -> None:
    if (reason := missing_parts("real")) is not None:
        pytest.skip(reason)
    own = tmp_path / "own.hcl"
    own.write_text(f'data_dir = "{tmp_path}"')
    command = ["nomad", "config", "validate", str(shipped_file(name)), str(own)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
