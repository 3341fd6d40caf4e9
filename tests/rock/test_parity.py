"""The page about rl-rock, and the table of names that are not there yet, say what is so."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from rock._absent_names import ABSENT
from tests import parity
from tests.rl_rock import client_modules, find_rl_rock, public_names, require_rl_rock

pytestmark = pytest.mark.slow  # some hundred files are read


def test_every_client_module_of_rl_rock_imports_with_its_public_names() -> None:
    folder = require_rl_rock()
    modules = list(client_modules(folder))
    assert len(modules) > 100
    missing = [
        f"{module}.{name}"
        for module in modules
        for name in public_names(folder, module)
        if not hasattr(importlib.import_module(module), name)
    ]
    assert set(missing) <= {"rock.make"}  # comes with the environments


def test_the_page_and_the_table_are_what_the_script_makes_of_the_files() -> None:
    folder = require_rl_rock()
    program = (
        "from tests import parity, rl_rock\n"
        "folder = rl_rock.find_rl_rock()\n"
        "found, modules = parity.compare(folder), list(rl_rock.client_modules(folder))\n"
        "assert parity.TABLE.read_text() == parity.render_table(found, modules), 'the table is out of date'\n"
        "assert parity.PAGE.read_text() == parity.render_page(found, modules), 'the page is out of date'\n"
    )
    # In a process of its own: what other tests have imported and asked for must not matter.
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"run `python -m tests.parity`: {ran.stderr}"
    assert find_rl_rock() == folder


def test_no_name_is_both_there_and_in_the_table() -> None:
    for module, names in ABSENT.items():
        if parity._file(module).exists():
            assert not names.keys() & set(importlib.import_module(module).__all__)
