"""The client runs on every Python from 3.10 on: trainers' images are that old."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pythons import VERSIONS, find_python

SDK = Path(__file__).parents[2] / "sdk"


@pytest.mark.slow
def test_no_syntax_or_library_call_is_newer_than_python_3_10() -> None:
    vermin = Path(sys.executable).with_name("vermin")
    checked = subprocess.run(
        [vermin, "--quiet", "--no-tips", "--eval-annotations", "--target=3.10-", "--violations", SDK],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_module_compiles_and_the_package_imports(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no python{version} on this machine")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "for path in Path(sys.argv[1]).rglob('*.py'): compile(path.read_text(), path, 'exec')\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import rock\n"
        "assert 'Sandbox' in dir(rock)\n"
    )
    ran = subprocess.run(
        [python, "-I", "-B", "-W", "error", "-c", program, SDK], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
