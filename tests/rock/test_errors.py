from __future__ import annotations

import copy
import pickle

import pytest

from rock import errors
from rock.errors import (
    BadRequestRockError,
    CommandRockError,
    InternalServerRockError,
    InvalidParameterRockException,
    NonZeroExitCode,
    RockException,
    raise_for_code,
)
from rock.wire.codes import codes
from rock.wire.errors import CODES


def test_every_error_of_the_wire_is_public() -> None:
    assert {cls.__name__ for cls in CODES.values()} <= set(errors.__all__)


def test_a_non_zero_exit_carries_exit_code_and_output_through_pickle_and_copy() -> None:
    error = NonZeroExitCode.from_command("false", 1, "words")
    assert str(error).startswith("Failed to execute command: 'false' failed with exit code 1.")
    for twin in (error, pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert (type(twin), twin.exit_code, twin.output) == (NonZeroExitCode, 1, "words")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (codes.BAD_REQUEST, BadRequestRockError),
        (codes.INTERNAL_SERVER_ERROR, InternalServerRockError),
        (codes.COMMAND_ERROR, CommandRockError),
        (4004, BadRequestRockError),
    ],
)
def test_a_code_raises_its_familys_error(code: int, error: type[RockException]) -> None:
    with pytest.raises(error, match="why") as caught:
        raise_for_code(code, "why")
    assert type(caught.value) is error


def test_a_success_and_no_code_raise_nothing_and_a_foreign_code_the_root() -> None:
    raise_for_code(None, "why")
    raise_for_code(codes.OK, "why")
    with pytest.raises(RockException) as caught:
        raise_for_code(7000, "why")
    assert type(caught.value) is RockException


def test_an_argument_that_is_not_taken_is_for_the_caller_to_fix() -> None:
    assert issubclass(InvalidParameterRockException, BadRequestRockError)
