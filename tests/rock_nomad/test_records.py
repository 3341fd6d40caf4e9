from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.spec import SandboxSpec
from rock_nomad.records import Job, agent_version, allocations_of, evaluations_of, texts
from tests.rock_nomad.samples import recorded_allocations, recording, render

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_a_running_allocation_is_read_whole() -> None:
    [place] = allocations_of(recorded_allocations("alloc-running"))
    assert (place.client_status, place.node_name, place.host_ip, place.index) == ("running", "vm", "127.0.0.1", 0)
    assert [event.type for event in place.events] == ["Received", "Task Setup", "Started"]
    assert place.created_at == pytest.approx(1795256230.363897, abs=1e-5)
    assert place.started_at == pytest.approx(1795256230.476372, abs=1e-5)
    assert place.finished_at is None
    assert place.went_unknown is False


def test_a_time_has_its_nine_digits_and_none_is_no_time() -> None:
    [place] = allocations_of(recorded_allocations("alloc-stopped"))
    whole = datetime(2026, 11, 21, 10, 17, 11, tzinfo=UTC).timestamp()
    assert place.finished_at == pytest.approx(whole + 0.129815797, abs=1e-6)
    never = {"TaskStates": {"rocklet": {"StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "soon"}}}
    [empty] = allocations_of([never])
    assert (empty.started_at, empty.finished_at) == (None, None)


def test_an_allocation_is_unknown_until_its_client_comes_back() -> None:
    [lost] = allocations_of(recorded_allocations("allocs-unknown"))
    assert lost.went_unknown
    states = [{"Field": 0, "Value": "unknown", "Time": "2026-11-21T10:30:00Z"}]
    at = datetime(2026, 11, 21, 10, 30, tzinfo=UTC).timestamp() * 1e9
    for later, went_unknown in ((-1, True), (1, False)):
        back = {"Type": "Reconnected", "Time": int(at + later * 1e9)}
        row = {"ClientStatus": "running", "AllocStates": states, "TaskStates": {"rocklet": {"Events": [back]}}}
        assert allocations_of([row])[0].went_unknown is went_unknown


def test_devices_and_members_are_read() -> None:
    devices = [{"Vendor": "nvidia", "DeviceIDs": ["GPU-1", "GPU-2"]}]
    row = {"Name": "sbx-a.sandbox[12]", "AllocatedResources": {"Tasks": {"rocklet": {"Devices": devices}}}}
    [place] = allocations_of([row])
    assert (place.device_ids, place.index) == (["GPU-1", "GPU-2"], 12)


def test_an_evaluation_says_why_it_failed() -> None:
    [blocked] = evaluations_of([recording("eval-blocked")])
    assert blocked.failed is not None
    assert blocked.failed["DimensionExhausted"] == {"memory": 1}
    [placed] = evaluations_of([recording("eval-placed")])
    assert placed.failed is None
    assert placed.triggered_by == "job-register"


def test_a_rendered_job_is_read_back() -> None:
    spec = SandboxSpec(image="x:1", gpus=2, labels={"run": "$7"})
    job = Job.from_row(render(spec, sandbox_id="a"))
    assert job.spec == spec
    assert (job.id, job.is_stopped) == ("sbx-a", False)


def test_a_spec_of_another_version_is_read_as_far_as_it_fits() -> None:
    said = '{"image": "x:1", "cpus": -1, "startup_timeout": 7, "colour": "red"}'
    assert Job.from_row({"Meta": {"spec": said}}).spec == SandboxSpec(image="x:1", startup_timeout=7.0)
    assert Job.from_row({"Meta": {"spec": "{"}}).spec == SandboxSpec()
    assert Job.from_row({"Meta": {"spec": "[]"}}).spec == SandboxSpec()


@pytest.mark.parametrize("odd", [5, "x", None, {}, [5, None], True])
def test_devices_and_datacenters_of_another_kind_are_none(odd: object) -> None:
    devices = {"AllocatedResources": {"Tasks": {"rocklet": {"Devices": [{"DeviceIDs": odd}]}}}}
    assert allocations_of([devices])[0].device_ids == []
    assert texts(odd) == []


@given(st.dictionaries(st.sampled_from(["ID", "Meta", "Stop", "Status", "SubmitTime", "JobModifyIndex"]), json_values))
def test_no_job_is_too_odd_to_be_read(row: dict[str, object]) -> None:
    Job.from_row(row)


alloc_keys = st.sampled_from(
    ["ID", "Name", "CreateTime", "TaskStates", "AllocStates", "AllocatedResources", "ClientStatus", "DesiredTransition"]
)


@given(st.lists(st.dictionaries(alloc_keys, json_values) | json_values, max_size=2))
def test_no_allocation_is_too_odd_to_be_read(listing: list[object]) -> None:
    assert len(allocations_of(listing)) == len(listing)


@given(st.lists(st.dictionaries(st.sampled_from(["CreateTime", "FailedTGAllocs", "Status"]), json_values), max_size=2))
def test_no_evaluation_is_too_odd_to_be_read(listing: list[object]) -> None:
    assert len(evaluations_of(listing)) == len(listing)


@pytest.mark.parametrize(
    ("config", "version"),
    [({"Version": "1.8.7"}, "1.8.7"), ({"Version": {"Version": "2.0.5"}}, "2.0.5"), ({}, ""), (None, "")],
)
def test_an_agents_version_is_one_text_or_the_first_of_its_parts(config: object, version: str) -> None:
    assert agent_version(config) == version
