from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rock_nomad.bundle.contents import find_contents, find_distributions, is_program
from tests.bundles import need_bundle


def test_all_that_the_rocklet_requires_is_found_and_nothing_else() -> None:
    names = {each.name.lower() for each in find_distributions()}
    assert {"aiohttp", "msgspec", "uvloop", "yarl", "attrs"} <= names
    assert not names & {"pydantic", "typer", "pytest", "brotli", "rock-nomad"}


def test_a_distribution_that_is_missing_is_named(tmp_path: Path) -> None:
    # An interpreter that finds our own packages and none that are installed.
    program = "from rock_nomad.bundle.contents import find_distributions\nfind_distributions()"
    root = Path(__file__).parents[3]
    (tmp_path / "msgspec").symlink_to(Path(sys.modules["msgspec"].__file__ or "").parent)
    environment = {"PYTHONPATH": f"{tmp_path}:{root}:{root / 'sdk'}"}
    ran = subprocess.run([sys.executable, "-S", "-c", program], env=environment, capture_output=True, text=True)
    assert "BadRequestRockError: uvloop is not installed; pip install 'rock-nomad[rocklet]'" in ran.stderr


@pytest.mark.slow
def test_the_interpreter_its_modules_and_its_libraries_are_all_there() -> None:
    need_bundle()
    contents = find_contents()
    modules = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("rocklet/__main__.py", "rock/__init__.py", "rock/wire/spec.py", "asyncio/tasks.py", "aiohttp/web.py"):
        assert f"{modules}/{name}" in contents
    assert {"bin/python3", "lib/ld.so", "lib/libc.so.6", "lib/libgcc_s.so.1"} <= contents.keys()
    assert all(path.is_file() for path in contents.values())
    assert is_program(contents["lib/ld.so"])
    assert not is_program(contents[f"{modules}/rock/__init__.py"])


@pytest.mark.slow
def test_what_a_rocklet_never_uses_stays_out() -> None:
    need_bundle()
    contents = find_contents()
    assert not [name for name in contents if "/test/" in name or "tkinter" in name or "rock_nomad" in name]
    assert not [name for name in contents if "libX11" in name or "libkrb5" in name]
    assert not [name for name in contents if name.endswith((".pyc", ".pyx", ".pyi"))]
