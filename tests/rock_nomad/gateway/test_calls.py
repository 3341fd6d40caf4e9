import logging

import pytest

from rock.wire.errors import InvalidRequest
from rock_nomad.gateway.calls import RequestIdFilter, accept_request_id, current_request_id


def test_a_request_keeps_the_id_it_came_with() -> None:
    assert accept_request_id("run-7/step.3") == "run-7/step.3"


def test_a_request_without_an_id_gets_one_of_its_own() -> None:
    first, second = accept_request_id(None), accept_request_id(None)
    assert first != second
    assert accept_request_id(first) == first


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "käse"])
def test_an_id_that_cannot_be_kept_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        accept_request_id(given)
    assert caught.value.details["field"] == "X-Request-ID"


def test_log_records_carry_the_request_that_they_belong_to() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "text", None, None)
    token = current_request_id.set("r1")
    try:
        assert RequestIdFilter().filter(record)
    finally:
        current_request_id.reset(token)
    assert record.__dict__["request_id"] == "r1"
