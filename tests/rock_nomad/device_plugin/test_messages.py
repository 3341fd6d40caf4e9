from __future__ import annotations

import inspect
import typing

import msgspec
import pytest

from rock_nomad.device_plugin import messages as m
from rock_nomad.device_plugin.protobuf import Message, decode, encode

MESSAGES = [
    kind for _, kind in inspect.getmembers(m, inspect.isclass) if issubclass(kind, Message) and kind is not Message
]

# As a plugin with one option of this kind sent it to Nomad 2.0.5, which understood it.
_SCHEMA = "0a2b0a290a270a06706572696f64121d4a1b0a121a100a06706572696f6412066e756d626572120552030a0131"


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_message_can_be_sent_and_numbers_its_fields_once(kind: type[Message]) -> None:
    assert decode(kind)(encode(kind())) == kind()
    hints = typing.get_type_hints(kind, include_extras=True)
    numbers = [typing.get_args(hint)[1].value for hint in hints.values()]
    assert len(set(numbers)) == len(numbers) == len(msgspec.structs.fields(kind))


def test_a_schema_has_the_bytes_that_nomad_has_read() -> None:
    primary = m.Spec(attr=m.Attr(name="period", type="number"))
    option = m.Spec(default=m.Default(primary=primary, default=m.Spec(literal=m.Literal(value="1"))))
    schema = m.ConfigSchemaResponse(spec=m.Spec(object=m.Object(attributes={"period": option})))
    assert encode(schema).hex() == _SCHEMA


def test_a_zero_is_sent_where_absence_means_something_else() -> None:
    for attribute in (m.Attribute(int_val=0), m.Attribute(bool_val=False), m.Attribute(float_val=0.0)):
        assert decode(m.Attribute)(encode(attribute)) == attribute
        assert encode(attribute) != encode(m.Attribute())
    assert encode(m.StatValue(int_numerator_val=m.Int64Value())) != b""
