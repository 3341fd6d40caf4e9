"""A trainer's install stays thin: the wheel, without extras, in a clean virtual environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.pythons import CLIENT_TESTS, VERSIONS, find_python

ROOT = Path(__file__).parents[1]
WHEELS = Path(os.environ.get("ROCK_WHEELS", ROOT / ".cache" / "wheels"))
SERVERS = ("rock_nomad", "rocklet", "nomad", "consul", "typer", "rich", "yaml", "uvloop")
_SHOW = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    # Where set-up has put wheels aside, no network is needed.
    source = ["--no-index", "--find-links", str(WHEELS)] if WHEELS.is_dir() else []
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *source, str(wheel)])
    return python


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_the_clients_own_tests_pass_on_every_python(client: Path, version: str, tmp_path: Path) -> None:
    """Those that need neither a rocklet nor a cluster, which are newer."""
    python = find_python(version)
    if python is None:
        pytest.skip(f"no python{version} on this machine")
    _run([python, "-m", "venv", str(tmp_path / "venv")])
    installed = str(tmp_path / "venv" / "bin" / "python")
    (wheel,) = client.parents[2].glob("*.whl")
    source = ["--no-index", "--find-links", str(WHEELS)] if WHEELS.is_dir() else []
    needed = [str(wheel), *CLIENT_TESTS]
    _run([installed, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *source, *needed])
    # A copy of the tests, so that the repository's own packages are not found beside them.
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with_servers = ("test_whole_path", "test_envs", "test_swerex")
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider"]
    options += [f"--ignore=tests/rock/{name}.py" for name in with_servers]
    said = _run([installed, "-m", "pytest", "tests/rock", *options], cwd=tmp_path)
    assert re.search(r"\b\d{3,} passed", said)


def _loaded(python: Path, program: str) -> set[str]:
    """The top-level packages that an interpreter has loaded after a program, from outside the repository."""
    return set(_run([str(python), "-I", "-c", f"{program}\n{_SHOW}"], cwd=python.parent).split())


def test_importing_the_client_loads_neither_servers_nor_models(client: Path) -> None:
    assert not _loaded(client, "import rock") & {*SERVERS, "pydantic", "aiohttp"}


def test_every_public_name_works_without_the_servers_libraries(client: Path) -> None:
    program = "import rock\nfor name in rock.__all__: getattr(rock, name)\nimport rock.sdk.sandbox.client, rock.actions"
    assert not _loaded(client, program) & set(SERVERS)


def test_the_client_calls_its_gateway_and_says_that_none_answers(client: Path) -> None:
    program = (
        "import rock, rock.errors\n"
        "sandbox = rock.SyncSandbox(rock.SandboxConfig(base_url='http://127.0.0.1:9'))\n"
        "try: sandbox.start()\n"
        "except rock.errors.GatewayUnreachable as error: print('unreachable')\n"
    )
    assert "unreachable" in _loaded(client, program)


def test_what_only_a_server_needs_is_not_installed(client: Path) -> None:
    installed = {line.partition("==")[0].lower() for line in _run([str(client), "-m", "pip", "freeze"]).splitlines()}
    assert not installed & {"uvloop", "python-nomad", "py-consul", "typer", "rich", "pyyaml"}
