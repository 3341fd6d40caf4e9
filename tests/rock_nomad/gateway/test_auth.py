import base64
import hashlib
from pathlib import Path

import pytest

from rock.wire.errors import Unauthorized
from rock_nomad.config import ConfigError
from rock_nomad.gateway.auth import ApiKeys, OpenDoor


def _write(path: Path, **tenants: str) -> Path:
    rows = [
        f"- {{name: {key}, sha256: {hashlib.sha256(key.encode()).hexdigest()}, tenant: {tenant}, role: user}}"
        for key, tenant in tenants.items()
    ]
    path.write_text("keys:\n" + "\n".join(rows))
    return path


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return _write(tmp_path / "keys.yaml", alice="team-a", bob="team-b")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer bob"},
        {"Authorization": "bearer  bob "},
        {"X-API-Key": "bob"},
        {"XRL-Authorization": "Bearer bob"},
        {"Authorization": f"Basic {base64.b64encode(b'anybody:bob').decode()}"},
        {"Authorization": f"Basic {base64.b64encode(b':bob').decode()}", "XRL-Authorization": "Bearer alice"},
        {"Authorization": "Bearer of a server", "X-API-Key": "bob"},
    ],
)
def test_a_key_says_who_calls(keys_file: Path, headers: dict[str, str]) -> None:
    assert ApiKeys(keys_file).identify(headers).tenant == "team-b"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic bob"},
        {"Authorization": "Bearer bob2"},
        {"X-API-Key": "b\udcffb"},
        {"Authorization": "Bearer wrong", "X-API-Key": "wrong too"},
    ],
)
def test_without_a_good_key_nobody_comes_in(keys_file: Path, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        ApiKeys(keys_file).identify(headers)


def test_a_changed_table_is_in_force_at_once(keys_file: Path) -> None:
    keys = ApiKeys(keys_file)
    _write(keys_file, carol="team-c")
    assert keys.identify({"X-API-Key": "carol"}).tenant == "team-c"
    with pytest.raises(Unauthorized):
        keys.identify({"X-API-Key": "bob"})


def test_a_table_that_turns_bad_leaves_the_last_good_one_in_force(
    keys_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ApiKeys(keys_file)
    keys_file.write_text("keys: 7")
    assert keys.identify({"X-API-Key": "bob"}).tenant == "team-b"
    keys_file.unlink()
    assert keys.identify({"X-API-Key": "bob"}).tenant == "team-b"
    assert len(caplog.records) == 2


def test_a_gateway_does_not_begin_with_a_bad_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        ApiKeys(tmp_path / "missing.yaml")


def test_an_open_door_asks_for_nothing(keys_file: Path) -> None:
    assert OpenDoor(ApiKeys(keys_file)).identify({}).tenant == "default"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"X-API-Key": "bob", "Authorization": "Bearer of a server"}, "Bearer of a server"),
        ({"X-API-Key": "bob", "Authorization": "Digest of a server"}, "Digest of a server"),
        ({"X-API-Key": "bob", "Authorization": "Bearer bob"}, None),
        ({"X-API-Key": "bob", "Authorization": "Bearer alice"}, None),
        ({"Authorization": "Bearer bob"}, None),
        ({"X-API-Key": "bob"}, None),
    ],
)
def test_an_authorization_that_is_no_key_is_a_servers(
    keys_file: Path, headers: dict[str, str], passes: str | None
) -> None:
    keys = ApiKeys(keys_file)
    assert keys.identify(headers).authorization == passes
    assert OpenDoor(keys).identify(headers).authorization == passes
    assert "of a server" not in repr(keys.identify(headers))


def test_an_open_door_lets_an_authorization_pass_without_a_key(keys_file: Path) -> None:
    assert OpenDoor(ApiKeys(keys_file)).identify({"Authorization": "Bearer x"}).authorization == "Bearer x"
