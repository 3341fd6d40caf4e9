from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.errors import InvalidRequest
from rock.wire.spec import ID_PATTERN
from rock_nomad.names import (
    check_sandbox_id,
    group_and_index,
    job_id,
    new_sandbox_id,
    sandbox_id_for_key,
    sandbox_id_of,
    sandbox_id_of_variable,
    service_name,
    variable_path,
)

ids = st.from_regex(r"(?!.*--)[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?(\.(0|[1-9][0-9]{0,2}))?", fullmatch=True)


@given(ids, ids)
def test_no_two_sandboxes_share_a_service(one: str, other: str) -> None:
    assert (service_name(one) == service_name(other)) == (one == other)


@given(ids)
def test_a_service_name_is_a_dns_label(sandbox_id: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", service_name(sandbox_id))


@given(ids)
def test_a_job_id_leads_back_to_its_sandbox(sandbox_id: str) -> None:
    _group, index = group_and_index(sandbox_id)
    assert sandbox_id_of(job_id(sandbox_id), index) == sandbox_id


@given(ids, ids)
def test_two_sandboxes_share_a_job_only_as_members_of_one_group(one: str, other: str) -> None:
    assert (job_id(one) == job_id(other)) == (group_and_index(one)[0] == group_and_index(other)[0])


@given(st.text())
def test_a_job_that_is_no_sandboxs_has_no_sandbox(job: str) -> None:
    sandbox_id = sandbox_id_of(job)
    assert sandbox_id is None or job_id(sandbox_id) == job


@pytest.mark.parametrize("job", ["t1", "sbx-", "sbx-a--b", "sbx-A", "sbx-a.1", "sbx-a\n", "xsbx-a", "sbx-" + "a" * 49])
def test_other_peoples_jobs_are_not_taken_for_sandboxes(job: str) -> None:
    assert sandbox_id_of(job) is None


@pytest.mark.parametrize("sandbox_id", ["", "-a", "a-", "a--b", "A", "a_b", "a.", "a.01", "a.1000", "a\n", "é", "../a"])
def test_an_id_of_another_shape_is_refused_by_name_value_and_remedy(sandbox_id: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_sandbox_id(sandbox_id)
    assert refused.value.details["field"] == "sandbox_id"
    assert repr(sandbox_id) in refused.value.message
    assert "such as" in refused.value.message


def test_new_ids_are_ids_and_never_the_same() -> None:
    made = [new_sandbox_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch(ID_PATTERN, each) for each in made)


@given(st.text(), st.text(), st.text(), st.text())
def test_an_idempotency_key_means_one_id_in_one_tenant(tenant: str, key: str, other: str, other_key: str) -> None:
    assert check_sandbox_id(sandbox_id_for_key(tenant, key)) == sandbox_id_for_key(tenant, key)
    same = sandbox_id_for_key(tenant, key) == sandbox_id_for_key(other, other_key)
    assert same == ((tenant, key) == (other, other_key))


def test_a_tenant_cannot_be_stretched_into_anothers_key() -> None:
    assert sandbox_id_for_key("ab", "c") != sandbox_id_for_key("a", "bc")


@given(ids)
def test_a_variable_is_its_sandboxs_own(sandbox_id: str) -> None:
    group, index = group_and_index(sandbox_id)
    path = variable_path(sandbox_id)
    assert path == f"nomad/jobs/{job_id(sandbox_id)}"
    assert path.startswith(variable_path())
    assert sandbox_id_of_variable(path) == (group if index is not None else sandbox_id)


@pytest.mark.parametrize("path", ["nomad/jobs/other", "nomad/jobs", "elsewhere/sbx-a", "nomad/jobs/sbx-A"])
def test_other_variables_are_nobodys(path: str) -> None:
    assert sandbox_id_of_variable(path) is None
