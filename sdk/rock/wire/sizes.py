"""Sizes as people write them: "8g", "512 MiB", 1073741824."""

from __future__ import annotations

import re

__all__ = ["format_size", "parse_size"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])i?b?|b)?", re.IGNORECASE | re.ASCII)
_EXPONENT = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(size: str | int) -> int:
    """Bytes of a size; units count in 1024s, as ROCK's do, and none means bytes.

    Raises ValueError, naming what was given and what would do.
    Source: rl-rock 1.11, `rock/utils/format.py`.
    """
    if isinstance(size, int):
        return size
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise ValueError(f"invalid size {size!r}: write a number and a unit, such as 512m or 8g")
    return int(float(match[1]) * 1024 ** _EXPONENT[(match[2] or "").lower()])


def format_size(size_bytes: int) -> str:
    """A size for people, in the largest unit that leaves one or more: "21 GB", "1.5 GB", "300 MB"."""
    for unit, exponent in (("TB", 4), ("GB", 3), ("MB", 2), ("KB", 1)):
        if size_bytes >= 1024**exponent:
            return f"{round(size_bytes / 1024**exponent, 1):g} {unit}"
    return f"{size_bytes} bytes"
