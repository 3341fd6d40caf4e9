"""What a caller is told of the rocklet's own faults."""

from __future__ import annotations

import errno
import logging
import resource

import pytest

from rock.wire.errors import InternalError, LimitReached
from rocklet.faults import explain_fault, find_exhaustion


def test_a_fault_is_in_the_log_under_the_request_that_met_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = explain_fault(ValueError("secret"), "r1")
    assert isinstance(error, InternalError)
    assert "r1" in error.message
    assert "secret" not in error.message
    assert "secret" in caplog.text


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_a_limit(number: int) -> None:
    error = explain_fault(OSError(number, "Too many open files"), "r1")
    assert isinstance(error, LimitReached)
    assert error.details == {"limit": "nofile", "value": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), ValueError()])
def test_nothing_else_is(error: Exception) -> None:
    assert find_exhaustion(error) is None
