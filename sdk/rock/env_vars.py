"""ROCK's variables of the environment as attributes, at ROCK's path: `rock.env_vars.ROCK_BASE_URL`.

Those of ROCK's server and tools mean nothing here: they are their text, or None.
"""

from __future__ import annotations

from typing import Any

from rock._absent import absent_names
from rock._config import is_rock_variable_set, rock_variable

__all__ = ["is_set"]


def is_set(name: str) -> bool:
    """Whether the environment has a variable."""
    if not name.startswith(_PREFIX):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return is_rock_variable_set(name)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a variable, or what stands for a name that is absent
    return rock_variable(name) if name.startswith(_PREFIX) else _find_absent(name)


_PREFIX = "ROCK_"
_find_absent = absent_names(__name__)
