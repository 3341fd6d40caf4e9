"""Classes by their dotted names."""

from __future__ import annotations

import importlib
import logging
from typing import Any

__all__ = ["can_import_class", "safe_import_class"]

log = logging.getLogger(__name__)


def safe_import_class(class_path: str) -> Any | None:  # noqa: ANN401 - whatever has the name
    """What a dotted name names; None if nothing does."""
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - a module may raise anything while it is imported
        log.warning("%s cannot be imported: %s", class_path, error)
        return None


def can_import_class(class_path: str) -> bool:
    """Whether a dotted name names anything."""
    return safe_import_class(class_path) is not None
