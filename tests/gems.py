"""The Python that hosts GEM environments, for tests that play."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from rock.wire.errors import RockException
from rock_nomad.config import cache_folder
from rock_nomad.gem_setup import set_up_gem

__all__ = ["find_gem_packages", "need_gem"]


@cache
def need_gem() -> str:
    """A Python with gem-llm, set up if need be; skips where that cannot be."""
    try:
        return str(set_up_gem(cache_folder(), lambda _: None))
    except RockException as error:
        pytest.skip(f"no gem-llm: {error}")


def find_gem_packages() -> Path | None:
    """The folder where gem-llm is installed; None unless it is there for the Python that runs the tests."""
    try:
        python = set_up_gem(cache_folder(), lambda _: None, try_again=False)
    except RockException:
        return None
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = python.parents[1] / "lib" / version / "site-packages"
    return packages if packages.is_dir() else None
