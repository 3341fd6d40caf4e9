from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock_nomad.device_plugin.protobuf import Message, Number, decode, encode


class Part(Message, frozen=True):
    number: Annotated[int, Number(1)] = 0


class Whole(Message, frozen=True):
    text: Annotated[str, Number(1)] = ""
    data: Annotated[bytes, Number(2)] = b""
    flag: Annotated[bool, Number(3)] = False
    ratio: Annotated[float, Number(4)] = 0.0
    maybe: Annotated[int | None, Number(5)] = None
    part: Annotated[Part | None, Number(6)] = None
    parts: Annotated[list[Part], Number(7)] = msgspec.field(default_factory=list)
    words: Annotated[dict[str, str], Number(8)] = msgspec.field(default_factory=dict)
    named_parts: Annotated[dict[str, Part], Number(15)] = msgspec.field(default_factory=dict)
    whole: Annotated[Whole | None, Number(16)] = None


class Newer(Message, frozen=True):
    text: Annotated[str, Number(1)] = ""
    unheard_of: Annotated[str, Number(99)] = ""


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
parts = st.builds(Part, number=st.integers(-(2**63), 2**63 - 1))
wholes = st.recursive(
    st.builds(
        Whole,
        text=texts,
        data=st.binary(max_size=20),
        flag=st.booleans(),
        ratio=st.floats(allow_nan=False, allow_infinity=False),
        maybe=st.none() | st.integers(0, 9),
        part=st.none() | parts,
        parts=st.lists(parts, max_size=3),
        words=st.dictionaries(texts, texts, max_size=3),
        named_parts=st.dictionaries(texts, parts, max_size=3),
    ),
    lambda inner: st.builds(Whole, whole=inner),
    max_leaves=3,
)


@given(wholes)
def test_what_is_written_is_read_back(message: Whole) -> None:
    assert decode(Whole)(encode(message)) == message


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Whole(), ""),
        (Whole(text="ab"), "0a026162"),
        (Whole(maybe=0), "2800"),  # there, though zero
        (Whole(flag=False, ratio=0.0), ""),
        (Whole(part=Part()), "3200"),
        (Whole(parts=[Part(number=150), Part()]), "3a030896013a00"),
        (Whole(words={"a": "b"}), "42060a0161120162"),
        (Whole(named_parts={"a": Part(number=1)}), "7a070a016112020801"),
        (Whole(whole=Whole(flag=True)), "82010218" + "01"),
    ],
)
def test_the_bytes_are_those_of_the_standard(message: Whole, data: str) -> None:
    assert encode(message).hex() == data


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert decode(Whole)(encode(Newer(text="a", unheard_of="b"))) == Whole(text="a")
