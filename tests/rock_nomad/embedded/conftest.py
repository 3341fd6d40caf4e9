"""What the tests of the embedded cluster share beyond the clusters themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

_numbers = itertools.count()


@pytest.fixture
def new_id() -> Callable[[str], str]:
    """Job ids that no other test of this run uses."""
    return lambda name: f"{name}-{next(_numbers)}"
