from __future__ import annotations

import json
from typing import Any

import pytest

from rock_nomad.job_keys import unknown_keys
from tests.rock_nomad.samples import BASE, recording, render


def test_our_own_jobs_have_no_unknown_key() -> None:
    assert list(unknown_keys(BASE)) == []
    assert list(unknown_keys(render())) == []


def test_what_nomad_answers_of_a_job_holds_only_its_own_bookkeeping_besides() -> None:
    beside = {key for key, _known in unknown_keys(recording("job-running")) if recording("job-running").get(key)}
    assert beside == {"CreateIndex", "JobModifyIndex", "ModifyIndex", "Status", "SubmitTime", "Update"}


@pytest.mark.parametrize(
    ("key", "job"),
    [
        ("Prioritty", {"Prioritty": 1}),
        ("taskgroups", {"taskgroups": []}),
        ("TaskGroups[0].Restart", {"TaskGroups": [{"Restart": {}}]}),
        ("TaskGroups[0].Tasks[1].Resources.Cpu", {"TaskGroups": [{"Tasks": [{}, {"Resources": {"Cpu": 1}}]}]}),
        ("TaskGroups[0].Volumes.data.Path", {"TaskGroups": [{"Volumes": {"data": {"Path": "/"}}}]}),
        ("TaskGroups[0].Tasks[0].Templates[0].Data", {"TaskGroups": [{"Tasks": [{"Templates": [{"Data": ""}]}]}]}),
    ],
)
def test_a_misspelt_key_is_named_by_its_path(key: str, job: dict[str, Any]) -> None:
    [(path, known)] = unknown_keys(job)
    assert path == key
    assert known


def test_maps_of_the_operators_own_keys_are_left_alone() -> None:
    job = {"Meta": {"x": "y"}, "TaskGroups": [{"Tasks": [{"Env": {"A": "b"}, "Config": {"any": {"thing": 1}}}]}]}
    assert list(unknown_keys(json.loads(json.dumps(job)))) == []
