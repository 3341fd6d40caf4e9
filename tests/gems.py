"""The Python that hosts GEM environments, for tests that play."""

from __future__ import annotations

from functools import cache

import pytest

from rock.wire.errors import RockException
from rock_nomad.config import cache_folder
from rock_nomad.gem_setup import set_up_gem

__all__ = ["need_gem"]


@cache
def need_gem() -> str:
    """A Python with gem-llm, set up if need be; skips where that cannot be."""
    try:
        return str(set_up_gem(cache_folder(), lambda _: None))
    except RockException as error:
        pytest.skip(f"no gem-llm: {error}")
