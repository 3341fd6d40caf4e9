from __future__ import annotations

import pytest

from rock._formats import convert_to_gb, parse_size_to_bytes


@pytest.mark.parametrize(
    ("size", "size_bytes", "shown"),
    [("8g", 8 * 2**30, "8.00g"), ("512Mi", 2**29, "0.50g"), ("1.5 GB", 3 * 2**29, "1.50g"), ("1024", 1024, "0.00g")],
)
def test_a_size_is_read_and_shown_as_rock_does(size: str, size_bytes: int, shown: str) -> None:
    assert (parse_size_to_bytes(size), convert_to_gb(size)) == (size_bytes, shown)


def test_what_is_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="8q"):
        parse_size_to_bytes("8q")
