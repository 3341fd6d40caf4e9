from __future__ import annotations

import pytest

from rock import env_vars


def test_heeded_variables_are_what_they_mean_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env_vars.ROCK_BASE_URL == "http://localhost:8080"
    assert env_vars.ROCK_DEFAULT_CLUSTER == "vpc-nt-a"
    assert env_vars.ROCK_SANDBOX_STARTUP_TIMEOUT_SECONDS == 180
    monkeypatch.setenv("ROCK_BASE_URL", "http://gateway:1")
    assert env_vars.ROCK_BASE_URL == "http://gateway:1"  # read on every use


def test_other_variables_of_rock_are_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROCK_TIME_ZONE", raising=False)
    assert env_vars.ROCK_TIME_ZONE is None
    assert not env_vars.is_set("ROCK_TIME_ZONE")
    monkeypatch.setenv("ROCK_TIME_ZONE", "UTC")
    assert [env_vars.ROCK_TIME_ZONE, env_vars.is_set("ROCK_TIME_ZONE")] == ["UTC", True]


def test_what_is_no_variable_of_rock_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="HOME"):
        _ = env_vars.HOME
    with pytest.raises(AttributeError, match="HOME"):
        env_vars.is_set("HOME")
