import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock.wire.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [("8g", 8 * 2**30), ("512 MiB", 512 * 2**20), ("1.5G", 3 * 2**29), ("10", 10), ("2kb", 2048), ("3Ki", 3072)],
)
def test_sizes_count_in_1024s(size: str, size_bytes: int) -> None:
    assert parse_size(size) == size_bytes


def test_a_number_is_bytes() -> None:
    assert parse_size(7) == 7


@pytest.mark.parametrize("size", ["", "g", "8 gigs", "-1g", "1e3", "8g8", "٣g"])
def test_what_is_no_size_is_refused_with_an_example(size: str) -> None:
    with pytest.raises(ValueError, match="such as 512m or 8g"):
        parse_size(size)


@given(st.integers(0, 2**50))
def test_a_written_size_is_near_what_it_was(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes).removesuffix(" bytes")) == pytest.approx(size_bytes, rel=0.06)
