import copy
import pickle
import re

import pytest

from rock.wire import errors
from rock.wire.errors import CODES, ErrorBody, RockException, from_body, to_body
from rock.wire.reasons import Family, Reason


def _leaves(cls: type[RockException]) -> set[type[RockException]]:
    """The last classes of the wire's own tree; a client adds errors of its own, which are never sent."""
    subclasses = [sub for sub in cls.__subclasses__() if sub.__module__ == errors.__name__]
    return {leaf for sub in subclasses for leaf in (_leaves(sub) or {sub})}


def test_codes_and_classes_are_a_bijection() -> None:
    assert set(CODES.values()) == _leaves(RockException)
    assert len(CODES) == len(set(CODES.values()))
    assert all(code == cls.error for code, cls in CODES.items())


def test_the_docstring_draws_every_class_with_its_code_and_status() -> None:
    assert errors.__doc__ is not None
    for code, cls in CODES.items():
        line = next(line for line in errors.__doc__.splitlines() if f" {cls.__name__} " in line)
        assert f" {code} " in line
        assert cls.status in map(int, re.findall(r"\b\d{3}\b", line))


@pytest.mark.parametrize("cls", CODES.values())
def test_every_error_survives_the_wire_pickle_and_copy(cls: type[RockException]) -> None:
    error = cls("it broke", reason=Reason.IDLE, details={"field": "x"})
    body = to_body(error, request_id="r1")
    assert body.retryable is cls.retryable
    assert body.details == {"field": "x", "request_id": "r1"}
    for twin in (from_body(body, cls.status), pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is cls
        assert (twin.message, twin.reason, twin.code) == ("it broke", Reason.IDLE, error.code)


@pytest.mark.parametrize(("status", "family"), [(404, Family.BAD_REQUEST), (503, Family.INTERNAL)])
def test_a_code_of_a_newer_server_becomes_its_family(status: int, family: Family) -> None:
    body = ErrorBody(code="from_the_future", message="?", retryable=False)
    assert from_body(body, status).family is family


def test_retryable_errors_are_never_part_of_the_trajectory() -> None:
    assert all(cls.family is not Family.COMMAND for cls in CODES.values() if cls.retryable)
