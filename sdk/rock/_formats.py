"""Sizes as ROCK's functions take and write them."""

from __future__ import annotations

from rock.wire.sizes import parse_size

__all__ = ["convert_to_gb", "parse_size_to_bytes"]


def parse_size_to_bytes(size_str: str) -> int:
    """Bytes of a size such as "8g".

    Raises ValueError.
    """
    return parse_size(size_str)


def convert_to_gb(size_str: str) -> str:
    """A size such as "512m" in gigabytes: "0.50g".

    Raises ValueError.
    """
    return f"{parse_size(size_str) / 2**30:.2f}g"
