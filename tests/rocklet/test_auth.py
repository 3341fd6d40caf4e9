"""Who may call."""

from __future__ import annotations

import hashlib

import pytest

from rock.wire.errors import Unauthorized
from rocklet.auth import check_token

_SHA256 = hashlib.sha256(b"good").hexdigest()


@pytest.mark.parametrize("header", ["Bearer good", "bearer good", "Bearer  good "])
def test_whoever_shows_the_token_may_call(header: str) -> None:
    check_token(header, _SHA256)


@pytest.mark.parametrize(
    "header", [None, "", "good", "Bearer", "Bearer ", "Bearer bad", "Basic good", f"Bearer {_SHA256}"]
)
def test_whoever_does_not_may_not(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        check_token(header, _SHA256)


def test_the_refusal_does_not_repeat_what_was_shown() -> None:
    with pytest.raises(Unauthorized) as refused:
        check_token("Bearer my secret", _SHA256)
    assert "my secret" not in str(refused.value)
