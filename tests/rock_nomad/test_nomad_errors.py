from __future__ import annotations

import pytest
import requests

from rock.wire.errors import ClusterUnavailable, InternalError, InvalidRequest, RockException
from rock_nomad.nomad_errors import translate, unreachable


@pytest.mark.parametrize(
    ("status", "said", "kind", "shown"),
    [
        (403, "Permission denied", ClusterUnavailable, "ACL policy"),
        (500, "No cluster leader", ClusterUnavailable, "failed: No cluster leader"),
        (429, "slow down", ClusterUnavailable, "slow down"),
        (500, "1 error occurred:\n\t* Missing job task groups\n\n", InternalError, ": Missing job task groups"),
        (500, 'job "x" is in nonexistent node pool "nope"', InvalidRequest, "node_pool does not exist"),
        (500, 'job "x" is in nonexistent namespace "zz"', ClusterUnavailable, "profile"),
        (400, "unexpected end of JSON", InternalError, "unexpected end"),
    ],
)
def test_nomads_words_become_ours(status: int, said: str, kind: type[RockException], shown: str) -> None:
    error = translate(status, said, "http://n")
    assert type(error) is kind
    assert shown in error.message


def test_the_reason_why_nobody_answers_is_the_last_that_requests_says() -> None:
    wrapped = requests.ConnectionError('Pool(host="h"): Max retries exceeded (Caused by E("C: [Errno 111] Refused"))')
    assert unreachable("http://n", wrapped).message == "nomad does not answer at http://n: [Errno 111] Refused"
    assert unreachable("http://n", TimeoutError()).message == "nomad does not answer at http://n: TimeoutError"
