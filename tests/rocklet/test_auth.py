"""Who may call."""

from __future__ import annotations

import hashlib

import pytest

from rock.wire.errors import Unauthorized
from rock.wire.tunnels import TOKEN_HEADER
from rocklet.auth import check_token

_SHA256 = hashlib.sha256(b"good").hexdigest()


@pytest.mark.parametrize("header", ["Bearer good", "bearer good", "Bearer  good "])
def test_whoever_shows_the_token_may_call(header: str) -> None:
    check_token({"Authorization": header}, _SHA256)


def test_the_token_may_stand_beside_an_authorization_that_is_somebody_elses() -> None:
    check_token({TOKEN_HEADER: "good", "Authorization": "Bearer of a server"}, _SHA256)
    with pytest.raises(Unauthorized):
        check_token({TOKEN_HEADER: "bad", "Authorization": "Bearer good"}, _SHA256)


@pytest.mark.parametrize("header", ["", "good", "Bearer", "Bearer ", "Bearer bad", "Basic good", f"Bearer {_SHA256}"])
def test_whoever_does_not_may_not(header: str) -> None:
    with pytest.raises(Unauthorized):
        check_token({"Authorization": header}, _SHA256)


def test_whoever_shows_nothing_may_not() -> None:
    with pytest.raises(Unauthorized, match="no token came"):
        check_token({}, _SHA256)


def test_the_refusal_does_not_repeat_what_was_shown() -> None:
    with pytest.raises(Unauthorized) as refused:
        check_token({"Authorization": "Bearer my secret"}, _SHA256)
    assert "my secret" not in str(refused.value)
