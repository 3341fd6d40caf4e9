"""Classes by their names, at ROCK's path."""

from rock._absent import absent_names
from rock._importing import can_import_class, safe_import_class

__all__ = ["can_import_class", "safe_import_class"]

__getattr__ = absent_names(__name__)
