from __future__ import annotations

import pytest
import requests

from rock.wire.errors import ClusterUnavailable, InternalError, InvalidRequest, RockException
from rock_nomad.config import NomadConfig
from rock_nomad.nomad_errors import Refused, translate, unreachable


@pytest.mark.parametrize(
    ("status", "said", "kind", "shown"),
    [
        (403, "ACL token expired", ClusterUnavailable, "give the gateway one that has not expired"),
        (500, "No cluster leader", ClusterUnavailable, "failed: No cluster leader"),
        (429, "slow down", ClusterUnavailable, "slow down"),
        (500, "1 error occurred:\n\t* Missing job task groups\n\n", InternalError, ": Missing job task groups"),
        (500, 'job "x" is in nonexistent node pool "nope"', InvalidRequest, "node_pool does not exist"),
        (500, 'job "x" is in nonexistent namespace "zz"', ClusterUnavailable, "profile"),
        (400, "unexpected end of JSON", InternalError, "unexpected end"),
    ],
)
def test_nomads_words_become_ours(status: int, said: str, kind: type[RockException], shown: str) -> None:
    error = translate(Refused(status, said), "http://n")
    assert type(error) is kind
    assert shown in error.message


@pytest.mark.parametrize(
    ("call", "right"),
    [
        ("GET jobs", "list-jobs"),
        ("GET job/sbx-a/allocations", "read-job"),
        ("GET event/stream", "read-job"),
        ("GET nodes", "node read"),
        ("GET agent/self", "agent read"),
        ("POST job/sbx-a?namespace=default", "register-job"),
        ("POST job/sbx-a/plan?namespace=default", "plan-job"),
        ("DELETE job/sbx-a?namespace=default", "deregister-job"),
        ("DELETE job/sbx-a?namespace=default&purge=true", "purge-job"),
        ("PUT var/nomad/jobs/sbx-a?cas=0", "variables at nomad/jobs/sbx-*"),
    ],
)
def test_a_right_that_is_missing_is_named_with_where_it_stands(call: str, right: str) -> None:
    error = translate(Refused(403, "Permission denied", call), "http://n")
    assert type(error) is ClusterUnavailable
    assert error.details["right"].startswith(right)
    assert f"grant it {right}" in error.message
    assert "acl-nomad.hcl" in error.message


def test_the_reason_why_nobody_answers_is_the_last_that_requests_says() -> None:
    config = NomadConfig(url="http://n")
    wrapped = requests.ConnectionError('Pool(host="h"): Max retries exceeded (Caused by E("C: [Errno 111] Refused"))')
    assert unreachable(config, wrapped).message == "nomad does not answer at http://n: [Errno 111] Refused"
    assert unreachable(config, TimeoutError()).message == "nomad does not answer at http://n: TimeoutError"
