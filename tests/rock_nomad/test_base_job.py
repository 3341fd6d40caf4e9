from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from rock_nomad.base_job import load_base_job
from rock_nomad.config import ConfigError
from tests.rock_nomad.samples import BASE


def _change(path: str, value: object) -> dict[str, Any]:
    """The base job with one value set: `TaskGroups.0.Count`; None takes it away."""
    job: Any = copy.deepcopy(BASE)
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    node = job
    for step in steps:
        node = node[step]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return job  # type: ignore[no-any-return]  # decoded JSON


def _load(tmp_path: Path, job: object) -> dict[str, Any]:
    (tmp_path / "base.json").write_text(json.dumps(job))
    return load_base_job(tmp_path / "base.json")


def test_the_distributions_own_base_job_is_good(tmp_path: Path) -> None:
    assert _load(tmp_path, load_base_job()) == load_base_job()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("Prio", 50, "unknown key Prio"),
        ("TaskGroups.0.Tasks.0.KilTimeout", 5, r"unknown key TaskGroups\[0\]\.Tasks\[0\]\.KilTimeout"),
        ("Type", "service", "batch"),
        ("TaskGroups.0.Count", 2, "Count 1"),
        ("TaskGroups.0.Name", "other", "Name 'sandbox'"),
        ("TaskGroups.0.RestartPolicy.Attempts", 1, "RestartPolicy"),
        ("TaskGroups.0.ReschedulePolicy", None, "ReschedulePolicy"),
        ("TaskGroups.0.Disconnect.Replace", True, "Disconnect"),
        ("TaskGroups.0.Networks", None, "DynamicPorts"),
        ("TaskGroups.0.Tasks", [], "Tasks"),
        ("TaskGroups.0.Tasks.0.Leader", False, "Leader"),
        ("TaskGroups.0.Tasks.0.Services", [], "Services"),
        ("TaskGroups.0.Tasks.0.Driver", "docker", "renderer's"),
        ("TaskGroups.0.MaxRunDuration", 1, "renderer's"),
        ("NodePool", "gpu", "renderer's"),
        ("TaskGroups", [], "one group"),
    ],
)
def test_a_base_job_that_would_not_be_a_sandbox_is_refused_with_key_and_file(
    tmp_path: Path, path: str, value: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        _load(tmp_path, _change(path, value))
    assert str(tmp_path / "base.json") in str(refused.value)


@pytest.mark.parametrize("job", [[], "text", 1, None])
def test_what_is_no_job_is_refused(tmp_path: Path, job: object) -> None:
    with pytest.raises(ConfigError, match="JSON object"):
        _load(tmp_path, job)


def test_a_file_that_is_not_there_or_not_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"base\.json"):
        load_base_job(tmp_path / "base.json")
    (tmp_path / "base.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_base_job(tmp_path / "base.json")


def test_an_operator_may_add_what_is_theirs(tmp_path: Path) -> None:
    job = _change("Constraints", [{"LTarget": "${attr.cpu.arch}", "Operand": "=", "RTarget": "amd64"}])
    job["TaskGroups"][0]["Tasks"].append({"Name": "logs", "Driver": "raw_exec", "Config": {"command": "/bin/true"}})
    assert _load(tmp_path, job) == job
