from __future__ import annotations

from pathlib import Path

import pytest

from rock import _config
from rock._config import GatewayAddress, find_gateway
from rock._credentials import write_credentials
from rock.wire.errors import BadRequestRockError


@pytest.fixture(autouse=True)
def credentials_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ROCK_BASE_URL", "ROCK_API_KEY", "ROCK_DIRECT", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "credentials.json"
    monkeypatch.setenv("ROCK_CREDENTIALS_FILE", str(path))
    return path


def test_the_address_is_the_environments_then_the_files_then_rocks(
    credentials_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _config.default_base_url() == "http://localhost:8080"
    write_credentials(credentials_file, "http://from-file:1", "key")
    assert _config.default_base_url() == "http://from-file:1"
    monkeypatch.setenv("ROCK_BASE_URL", "http://from-environment:1")
    assert _config.default_base_url() == "http://from-environment:1"


def test_the_key_given_wins_over_the_addresss_over_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_gateway("http://gateway:1").api_key is None
    monkeypatch.setenv("ROCK_API_KEY", "from-environment")
    assert find_gateway("http://gateway:1").api_key == "from-environment"
    assert find_gateway("http://x:from%2Daddress@gateway:1").api_key == "from-address"
    assert find_gateway("http://x:from-address@gateway:1", "given").api_key == "given"


@pytest.mark.parametrize("base_url", ["http://gateway:1", "http://gateway:1/", "HTTP://GATEWAY:1"])
def test_a_key_from_the_file_goes_to_the_address_in_the_file(credentials_file: Path, base_url: str) -> None:
    write_credentials(credentials_file, "http://gateway:1", "from-file")
    assert find_gateway(base_url).api_key == "from-file"


@pytest.mark.parametrize("base_url", ["http://other:1", "http://gateway:2", "https://gateway:1", "http://gateway:1/x"])
def test_a_key_from_the_file_goes_nowhere_else(credentials_file: Path, base_url: str) -> None:
    write_credentials(credentials_file, "http://gateway:1", "from-file")
    assert find_gateway(base_url).api_key is None


def test_a_default_port_is_the_same_address_as_none(credentials_file: Path) -> None:
    write_credentials(credentials_file, "http://gateway", "from-file")
    assert find_gateway("http://gateway:80").api_key == "from-file"


def test_the_key_is_taken_out_of_the_address_and_not_shown() -> None:
    address = find_gateway("http://x:hidden@gateway:1/base/")
    assert address == GatewayAddress(url="http://gateway:1/base", api_key="hidden")
    assert "hidden" not in repr(address)


@pytest.mark.parametrize(
    "base_url", ["", "gateway:8080", "ftp://gateway", "http://", "http://gateway:99999", "http://[x"]
)
def test_an_address_that_is_none_is_refused_with_the_form_it_must_have(base_url: str) -> None:
    with pytest.raises(BadRequestRockError, match="http://host:port"):
        find_gateway(base_url)


def test_a_bad_address_is_refused_without_showing_the_key() -> None:
    with pytest.raises(BadRequestRockError) as caught:
        find_gateway("ftp://x:hidden@gateway")
    assert "hidden" not in str(caught.value)


def test_the_startup_timeout_is_the_environments_or_rocks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _config.default_startup_timeout() == 180
    monkeypatch.setenv("ROCK_SANDBOX_STARTUP_TIMEOUT_SECONDS", "12.5")
    assert _config.default_startup_timeout() == 12.5
    monkeypatch.setenv("ROCK_SANDBOX_STARTUP_TIMEOUT_SECONDS", "soon")
    with pytest.raises(BadRequestRockError, match="'soon'"):
        _config.default_startup_timeout()


def test_cluster_direct_and_proxy_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROCK_DEFAULT_CLUSTER", raising=False)
    assert (_config.default_cluster(), _config.default_direct()) == ("vpc-nt-a", "auto")
    monkeypatch.setenv("ROCK_DEFAULT_CLUSTER", "mine")
    monkeypatch.setenv("ROCK_DIRECT", "never")
    monkeypatch.setenv("http_proxy", "proxy:1")
    assert (_config.default_cluster(), _config.default_direct()) == ("mine", "never")
    assert _config.find_proxy("http://gateway") == "http://proxy:1"


def test_the_file_is_looked_for_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROCK_CREDENTIALS_FILE")
    monkeypatch.setenv("HOME", "/home/someone")
    assert _config.credentials_path() == Path("/home/someone/.config/rock-nomad/credentials.json")
