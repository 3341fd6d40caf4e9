from __future__ import annotations

import pytest

from rock_nomad.embedded.jobs import canonicalize, multierror, problems, warnings
from tests.rock_nomad.embedded import recordings

SERVERS = {"CreateIndex", "JobModifyIndex", "ModifyIndex", "Status", "Stop", "SubmitTime", "Version"}


def test_a_canonical_job_is_the_recorded_one() -> None:
    recorded = {key: value for key, value in recordings.load("job-running").items() if key not in SERVERS}
    assert canonicalize(recordings.job("t1")) == recorded


def test_a_minimal_job_gets_nomads_defaults() -> None:
    given = {"Name": "g", "Tasks": [{"Name": "t", "Driver": "d"}]}
    job = canonicalize({"ID": "a", "Type": "batch", "TaskGroups": [given]})
    group = job["TaskGroups"][0]
    task = group["Tasks"][0]
    assert (job["Name"], job["Priority"], job["Datacenters"], group["Count"]) == ("a", 50, ["*"], 1)
    assert (task["Resources"]["CPU"], task["Resources"]["MemoryMB"], task["KillTimeout"]) == (100, 300, 5_000_000_000)
    assert group["EphemeralDisk"]["SizeMB"] == 300
    assert problems(job) == []


def test_unknown_keys_vanish_in_silence_and_empty_maps_become_null() -> None:
    job = canonicalize({"ID": "a", "Meta": {}, "Nobody": 1, "TaskGroups": [{"Name": "g", "Nor": 2, "Constraints": []}]})
    assert "Nobody" not in job
    assert job["Meta"] is None
    assert "Nor" not in job["TaskGroups"][0]
    assert job["TaskGroups"][0]["Constraints"] is None


def test_a_task_takes_its_groups_restart_policy() -> None:
    group = {"Name": "g", "RestartPolicy": {"Attempts": 0}, "Tasks": [{"Name": "t"}]}
    job = canonicalize({"ID": "a", "TaskGroups": [group]})
    assert job["TaskGroups"][0]["Tasks"][0]["RestartPolicy"]["Attempts"] == 0


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"ID": "a", "Type": "batch"}, ["Missing job task groups"]),
        ({"Type": "x"}, ["Missing job ID", "Missing job name", 'Invalid job type: "x"', "Missing job task groups"]),
        ({"ID": "a b"}, ["Job ID contains a space", "Missing job task groups"]),
        ({"ID": "a", "Priority": 101}, ["Job priority must be between [1, 100]", "Missing job task groups"]),
        (
            {"ID": "a", "TaskGroups": [{"Name": "g"}]},
            ["Task group g validation failed: 1 error occurred:\n\t* Missing tasks for task group\n\n"],
        ),
    ],
)
def test_mistakes_are_named_in_nomads_words(job: dict[str, object], said: list[str]) -> None:
    assert problems(canonicalize(job)) == said


def test_nested_mistakes_read_as_recorded() -> None:
    job = canonicalize({"ID": "bad", "TaskGroups": [{"Count": -1, "Tasks": [{}]}]})
    assert multierror(problems(job)) == (
        "2 errors occurred:\n\t* Job task group 1 missing name\n\t* Task group  validation failed: 4 errors occurred:"
        "\n\t* Missing task group name\n\t* Task group count can't be negative\n\t* Task 1 missing name"
        "\n\t* Task  validation failed: 2 errors occurred:\n\t* Missing task name\n\t* Missing task driver"
        "\n\n\n\n\n\n"
    )


def test_services_warn_about_their_shutdown() -> None:
    task = {"Name": "t", "Services": [{"Name": "s"}]}
    job = canonicalize({"ID": "a", "TaskGroups": [{"Name": "g", "Tasks": [task]}]})
    assert warnings(job) == ('1 warning:\n\n* task "t" in group "g" defines services, but has no shutdown_delay set')
    assert job["TaskGroups"][0]["Tasks"][0]["Constraints"][0]["LTarget"] == "${attr.consul.version}"
    assert warnings(canonicalize({"ID": "a"})) == ""
