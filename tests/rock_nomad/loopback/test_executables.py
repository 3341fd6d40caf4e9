from pathlib import Path

import pytest

from rock.wire.errors import BadRequestRockError
from rock_nomad.loopback.executables import find_executables

pytestmark = pytest.mark.slow  # programs are run


@pytest.fixture(autouse=True)
def only_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program but those that a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("nomad", "consul"):
        monkeypatch.delenv(f"{name.upper()}_BIN", raising=False)


def program(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_they_are_found_with_the_version_that_they_say(tmp_path: Path) -> None:
    nomad, consul = program(tmp_path, "nomad", "Nomad v2.0.5"), program(tmp_path, "consul", "Consul v1.8.7")
    assert {name: tuple(one) for name, one in find_executables().items()} == {
        "nomad": (str(nomad), "2.0.5"),
        "consul": (str(consul), "1.8.7"),
    }


def test_one_that_is_named_goes_before_one_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nomad", "Nomad v2.0.5")
    program(tmp_path, "consul", "Consul v1.8.7")
    other = program(tmp_path, "another-nomad", "Nomad v2.1.0")
    monkeypatch.setenv("NOMAD_BIN", str(other))
    assert tuple(find_executables()["nomad"]) == (str(other), "2.1.0")


def test_one_that_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    program(tmp_path, "nomad", "Nomad v2.0.5")
    with pytest.raises(BadRequestRockError, match=r"no consul on PATH; install 1\.8\.0 or later, .* CONSUL_BIN"):
        find_executables()


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        ("Nomad v2.0.2", r"nomad is nomad 2\.0\.2; install 2\.0\.3 or later"),
        ("Nomad v1.11.4", r"is nomad 1\.11\.4; install 2\.0\.3"),
        ("hello", "does not say which version it is"),
    ],
)
def test_one_that_will_not_do_is_refused(tmp_path: Path, says: str, fault: str) -> None:
    program(tmp_path, "nomad", says)
    with pytest.raises(BadRequestRockError, match=fault):
        find_executables()


def test_one_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    program(tmp_path, "nomad", "").write_text("#!/no/such/interpreter\n")
    with pytest.raises(BadRequestRockError, match="nomad cannot be run: "):
        find_executables()
