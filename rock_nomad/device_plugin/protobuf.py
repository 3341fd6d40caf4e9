"""Protocol buffers from typed structs: a struct's annotated field numbers are its schema, so that no code is generated.

Only field numbers and types are on the wire; names of messages and fields are our own affair.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.message_factory import GetMessageClass

__all__ = ["Message", "Number", "decode", "encode"]


class Number(NamedTuple):
    """A field's number, as an annotation: `name: Annotated[str, Number(1)]`."""

    value: int


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message.

    Fields are texts, bytes, bools, integers (sent as int64, which enums and int32 are, too), floats (sent as double),
    messages, and lists and text-keyed dicts of these.  One that may be None is sent whenever it is not, even if zero:
    the members of a `oneof`, and proto3's optional fields.
    """


_Message = TypeVar("_Message", bound=Message)

_SCALARS = {
    str: FieldDescriptorProto.TYPE_STRING,
    bytes: FieldDescriptorProto.TYPE_BYTES,
    bool: FieldDescriptorProto.TYPE_BOOL,
    int: FieldDescriptorProto.TYPE_INT64,
    float: FieldDescriptorProto.TYPE_DOUBLE,
}


def encode(message: Message) -> bytes:
    """A message's bytes."""
    fields = msgspec.to_builtins(message)
    return json_format.ParseDict(fields, _protobuf_class(type(message))()).SerializeToString()


def decode(kind: type[_Message]) -> Callable[[bytes], _Message]:
    """What reads a message of this kind; unknown fields are passed over."""
    protobuf_class = _protobuf_class(kind)

    def read(data: bytes) -> _Message:
        fields = json_format.MessageToDict(protobuf_class.FromString(data), preserving_proto_field_name=True)
        # Not strict, because protobuf's JSON writes 64-bit integers as texts.
        return msgspec.convert(fields, kind, strict=False)

    return read


@cache
def _protobuf_class(kind: type[Message]) -> type[ProtobufMessage]:
    file = FileDescriptorProto(name=f"{kind.__name__}.proto", syntax="proto3")
    _describe(kind, file, set())
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(kind.__name__))


def _describe(kind: type[Message], file: FileDescriptorProto, done: set[type[Message]]) -> None:
    """Write down a message and all that it holds."""
    if kind in done:
        return
    done.add(kind)
    described = file.message_type.add(name=kind.__name__)
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        annotated, number = typing.get_args(hint)
        field = described.field.add(name=name, number=number.value, label=FieldDescriptorProto.LABEL_OPTIONAL)
        for held in _describe_field(field, annotated, described):
            _describe(held, file, done)


def _describe_field(field: FieldDescriptorProto, hint: Any, owner: DescriptorProto) -> list[type[Message]]:  # noqa: ANN401 - a type
    """Write down a field's type; returns the messages it may hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        field.label = FieldDescriptorProto.LABEL_REPEATED
        return _set_type(field, arguments[0])
    if origin is dict:
        # On the wire a map is a list of messages, each a key and a value.
        entry = owner.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _set_type(entry.field.add(name="key", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL), arguments[0])
        value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{owner.name}.{entry.name}"
        return _set_type(value, arguments[1])
    if origin is types.UnionType:
        held = _set_type(field, arguments[0])
        if not held:
            owner.oneof_decl.add(name=f"_{field.name}")
            field.oneof_index, field.proto3_optional = len(owner.oneof_decl) - 1, True
        return held
    return _set_type(field, hint)


def _set_type(field: FieldDescriptorProto, kind: type) -> list[type[Message]]:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return []
    field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{kind.__name__}"
    return [kind]
