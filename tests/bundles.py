"""The bundled rocklet, for tests that put it into images."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from rock.wire.errors import BadRequestRockError
from rock_nomad.bundle.build import ensure_cached_bundle
from rock_nomad.config import cache_folder

__all__ = ["find_bundle", "need_bundle"]


@cache
def find_bundle() -> Path | None:
    """The bundle of this checkout, built if need be; None where none can be built."""
    try:
        return ensure_cached_bundle(cache_folder())
    except BadRequestRockError:  # tests of clusters that mount it run all the same
        return None


def need_bundle() -> Path:
    """The bundle of this checkout, built if need be; skips where none can be built."""
    bundle = find_bundle()
    if bundle is None:
        pytest.skip("no bundle can be built here: no glibc, or a Python that lacks something")
    return bundle
