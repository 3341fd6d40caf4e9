"""The files of `jobspecs/`, wherever this distribution is: what Nomad and Consul are told, for people and programs."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["shipped_file"]


def shipped_file(name: str) -> Path:
    """A file of `jobspecs/`: in the installed package, or in the tree it is developed in."""
    installed = Path(str(files("rock_nomad"))) / "jobspecs" / name
    return installed if installed.exists() else Path(__file__).parents[1] / "jobspecs" / name
