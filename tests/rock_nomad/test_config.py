from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from rock_nomad.config import (
    ClusterProfile,
    ConfigError,
    GatewayConfig,
    NomadConfig,
    cache_folder,
    environment_with,
    load_api_keys,
    load_cluster_config,
    load_gateway_config,
    load_secrets,
    read_token,
)

MINIMAL = "keys_file: keys.yaml\nsecret_file: secret\n"


@pytest.fixture(autouse=True)
def _no_tokens_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOMAD_TOKEN", raising=False)
    monkeypatch.delenv("CONSUL_HTTP_TOKEN", raising=False)


def _load(tmp_path: Path, said: str) -> GatewayConfig:
    (tmp_path / "gateway.yaml").write_text(said)
    return load_gateway_config(tmp_path / "gateway.yaml")


def test_a_minimal_file_has_defaults_for_the_rest(tmp_path: Path) -> None:
    config = _load(tmp_path, MINIMAL)
    assert (config.host, config.port) == ("127.0.0.1", 8080)
    assert config.nomad.url == "http://127.0.0.1:4646"
    assert config.profile == ClusterProfile()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = _load(tmp_path, MINIMAL + "base_job_file: base.json\nnomad: {token_file: nomad.token, ca_file: /etc/ca}\n")
    assert config.keys_file == tmp_path / "keys.yaml"
    assert config.base_job_file == tmp_path / "base.json"
    assert config.nomad.token_file == tmp_path / "nomad.token"
    assert config.nomad.ca_file == Path("/etc/ca")


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("prot: 1\n", "prot"),
        ("profile: {nmae: x}\n", "profile.nmae"),
        ("nomad: {adress: x}\n", "nomad.adress"),
    ],
)
def test_an_unknown_key_names_itself_the_file_and_the_keys_there_are(tmp_path: Path, said: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        _load(tmp_path, MINIMAL + said)
    assert f"unknown key {key}" in str(refused.value)
    assert str(tmp_path / "gateway.yaml") in str(refused.value)
    known = {"prot": "port", "profile.nmae": "name", "nomad.adress": "url"}[key]
    assert known in str(refused.value).partition("the keys there are")[2]


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("port: '80'\n", "port"),
        ("port: 70000\n", "port"),
        ("profile: {isolations: [docker]}\n", "profile.isolations"),
        ("profile: {max_cpus: 0}\n", "profile.max_cpus"),
        ("nomad: {url: 'http://user:pass@host'}\n", "nomad.url"),
        ("profile: {isolations: []}\n", "profile.isolations"),
    ],
)
def test_a_wrong_value_names_its_key(tmp_path: Path, said: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        _load(tmp_path, MINIMAL + said)


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'port' is given twice"):
        _load(tmp_path, MINIMAL + "port: 1\nport: 2\n")


def test_a_file_that_is_not_yaml_or_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not YAML"):
        _load(tmp_path, "a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_gateway_config(tmp_path / "nowhere.yaml")


def test_tokens_come_from_the_environment_only_where_the_file_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOMAD_TOKEN", "from-env")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-env")
    (tmp_path / "token").write_text("from-file\n")
    config = _load(tmp_path, MINIMAL + "consul: {token_file: token}\n")
    assert read_token(config.nomad) == "from-env"
    assert read_token(config.consul) == "from-file"


def test_no_token_shows_in_a_repr_or_an_error(tmp_path: Path) -> None:
    config = _load(tmp_path, MINIMAL + "nomad: {token: hunter2}\n")
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigError) as refused:
        _load(tmp_path, MINIMAL + "nomad: {token: [hunter2]}\n")
    assert "hunter2" not in str(refused.value)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        NomadConfig().url = "http://elsewhere"


def test_api_keys_are_a_table_with_distinct_names_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys:\n- {{name: a, sha256: {'a' * 64}}}\n- {{name: b, sha256: {'b' * 64}, role: operator}}\n")
    first, second = load_api_keys(path)
    assert (first.tenant, first.role, second.role) == ("default", "user", "operator")
    path.write_text(f"keys:\n- {{name: a, sha256: {'a' * 64}}}\n- {{name: b, sha256: {'a' * 64}}}\n")
    with pytest.raises(ConfigError, match="same sha256"):
        load_api_keys(path)
    path.write_text("keys:\n- {name: a, sha256: nope}\n")
    with pytest.raises(ConfigError, match=r"keys\.0\.sha256"):
        load_api_keys(path)


def test_a_secret_file_has_one_line_or_two(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("n" * 32 + "\n")
    alone = load_secrets(path)
    path.write_text("m" * 32 + "\n\n" + "n" * 32 + "\n")
    changing = load_secrets(path)
    assert changing.token_of("t", "a", alone.name) == alone.token("t", "a")
    for said in ("", "short", "\n".join(["n" * 32] * 3)):
        path.write_text(said)
        with pytest.raises(ConfigError, match=str(path)):
            load_secrets(path)


def test_the_default_rocklet_is_this_interpreters() -> None:
    assert os.access(ClusterProfile().rocklet_command[0], os.X_OK)


def test_what_can_be_made_again_is_kept_where_the_user_wants_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "rock-nomad"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "rock-nomad"


def test_a_program_gets_this_environment_with_some_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "1")
    given = environment_with(B="2")
    assert (given["A"], given["B"]) == ("1", "2")
    assert "B" not in os.environ


def test_a_cluster_is_named_without_a_gateways_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOMAD_TOKEN", "ours")
    config = load_cluster_config({"nomad": {"url": "http://n:4646"}})
    assert (config.nomad.url, read_token(config.nomad)) == ("http://n:4646", "ours")
    assert (config.consul.url, config.profile.namespace) == ("http://127.0.0.1:8500", "default")
    with pytest.raises(ConfigError, match=r"command line: nomad\.url"):
        load_cluster_config({"nomad": {"url": "n"}})
