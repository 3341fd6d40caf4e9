from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from rock._credentials import write_credentials
from rock._sandbox_config import SandboxConfig, SandboxGroupConfig

ROCKS_DEFAULTS = {
    "base_url": "http://localhost:8080",
    "extra_headers": {},
    "image": "python:3.11",
    "image_os": "linux",
    "auto_clear_seconds": 300,
    "startup_timeout": 180.0,
    "memory": "8g",
    "cpus": 2,
    "limit_cpus": None,
    "num_gpus": None,
    "accelerator_type": None,
    "user_id": None,
    "experiment_id": None,
    "cluster": "vpc-nt-a",
    "namespace": None,
    "registry_username": None,
    "registry_password": None,
    "use_kata_runtime": False,
    "sandbox_id": None,
    "auto_archive_seconds": None,
    "auto_delete_seconds": None,
    "disk": "50G",
}


def test_it_has_rocks_fields_and_defaults() -> None:
    dumped = SandboxConfig().model_dump(exclude={"xrl_authorization"})
    assert {name: dumped[name] for name in ROCKS_DEFAULTS} == ROCKS_DEFAULTS
    group = SandboxGroupConfig()
    assert (group.size, group.start_concurrency, group.start_retry_times) == (2, 2, 3)


def test_the_address_is_found_when_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_credentials(tmp_path / "credentials.json", "http://from-file:1", "key")
    assert SandboxConfig().base_url == "http://from-file:1"
    monkeypatch.setenv("ROCK_BASE_URL", "http://from-environment:1")
    assert SandboxConfig().base_url == "http://from-environment:1"
    assert SandboxConfig(base_url="http://given:1").base_url == "http://given:1"


def test_the_direct_way_is_the_environments_and_must_be_one_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCK_DIRECT", "never")
    assert SandboxConfig().direct == "never"
    monkeypatch.setenv("ROCK_DIRECT", "perhaps")
    with pytest.raises(ValidationError, match="direct"):
        SandboxConfig()


def test_it_can_be_changed_coerces_ignores_unknown_keys_and_pickles() -> None:
    config = SandboxConfig.model_validate({"cpus": "2.5", "unknown": 1})
    assert config.cpus == 2.5
    config.memory = "1g"
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config


def test_archive_and_delete_exclude_each_other_and_are_not_negative() -> None:
    with pytest.raises(ValueError, match="cannot be specified together"):
        SandboxConfig(auto_archive_seconds=1, auto_delete_seconds=1)
    for field in ("auto_archive_seconds", "auto_delete_seconds"):
        with pytest.raises(ValueError, match=f"{field} must be >= 0"):
            SandboxConfig.model_validate({field: -1})


def test_no_secret_is_shown() -> None:
    with pytest.warns(DeprecationWarning, match="use api_key"):
        config = SandboxConfig(
            base_url="http://x:hidden@gateway:1",
            api_key="hidden",
            xrl_authorization="hidden",
            registry_password="hidden",
            extra_headers={"X-API-Key": "hidden"},
            env={"TOKEN": "hidden"},
        )
    assert "hidden" not in f"{config!r} {config}"
    assert "http://gateway:1" in repr(config)


def test_a_config_that_is_refused_shows_no_secret() -> None:
    wrong: dict[str, object] = {"registry_password": "s3cret", "auto_archive_seconds": 1, "auto_delete_seconds": 1}
    with pytest.raises(ValidationError, match="cannot be specified together") as caught:
        SandboxConfig.model_validate(wrong)
    assert "s3cret" not in str(caught.value)
