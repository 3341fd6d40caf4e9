from __future__ import annotations

import socket

import pytest

from rock_nomad.loopback.api import Api, wait_until
from tests.cluster import Cluster


@pytest.mark.slow
def test_an_answer_is_json_text_or_an_error_with_its_status(embedded: Cluster) -> None:
    api = Api(embedded.nomad_url, "X-Nomad-Token", embedded.nomad_token)
    nodes = api.call("GET", "/v1/nodes")
    assert (nodes.status, len(nodes.data)) == (200, 1)
    assert int(nodes.headers["x-nomad-index"]) > 0
    assert api.call("POST", "/v1/job/x", b"{").status == 400
    assert api.call("GET", "/v1/job/none")[:2] == (404, "job not found")
    assert Api(embedded.nomad_url, "X-Nomad-Token").call("GET", "/v1/nodes").status == 403


def test_a_token_stands_in_no_text_about_it() -> None:
    assert "hidden" not in repr(Api("http://127.0.0.1:1", "X-Nomad-Token", "hidden"))


def test_nobody_who_answers_is_waited_for() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        api = Api(f"http://127.0.0.1:{unused.getsockname()[1]}", "X-Nomad-Token")
        assert not wait_until(lambda: bool(api.call("GET", "/v1/nodes")), 0.0)
    answers = iter([False, True])
    assert wait_until(lambda: next(answers), 10.0)
