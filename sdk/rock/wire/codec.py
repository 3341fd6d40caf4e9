"""Bytes to structs and back.  What does not fit raises `InvalidRequest`, naming the field, the value, the remedy."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from rock.wire.errors import InvalidRequest

__all__ = ["decode", "decode_query", "encode", "encode_query"]

_T = TypeVar("_T")
_ENCODER = msgspec.json.Encoder()
_PATH = re.compile(r" - at (?:key in )?`(\$[^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_SHOWN = 80  # characters of a wrong value that an error repeats


def encode(struct: msgspec.Struct) -> bytes:
    """A struct as JSON."""
    return _ENCODER.encode(struct)


def decode(kind: type[_T], body: bytes) -> _T:
    """The struct that a JSON body says; an empty body says `{}`.

    Raises InvalidRequest: fix the field that it names.
    """
    try:
        return _decoder(kind).decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise _invalid(kind, str(error), _decode_loosely(body)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"the body is not JSON: {error}; send a JSON object",
            details={"field": "$", "value": _show(body[:_SHOWN]), "expected": "a JSON object"},
        ) from error
    except RecursionError as error:
        raise InvalidRequest(
            "the body is nested too deeply; send a flat JSON object",
            details={"field": "$", "value": "", "expected": "a JSON object"},
        ) from error


def decode_query(kind: type[_T], query: Iterable[tuple[str, str]]) -> _T:
    """The struct that a query string says; a list's key may come more than once.

    Raises InvalidRequest: fix the field that it names.
    """
    lists = _list_fields(cast("Hashable", kind))
    fields: dict[str, Any] = {}
    for name, value in query:
        if name in lists:
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise InvalidRequest(
                f"{name} is given twice; give it once",
                details={"field": name, "value": _show(value), "expected": "one value"},
            )
        else:
            fields[name] = value
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(kind, str(error), fields) from error


def encode_query(struct: msgspec.Struct) -> list[tuple[str, str]]:
    """A struct of scalars and lists as the pairs of a query string; what is None or a default is left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in msgspec.to_builtins(struct).items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                pairs.append((name, str(item).lower() if isinstance(item, bool) else str(item)))
    return pairs


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[_T]) -> msgspec.json.Decoder[_T]:
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(kind)
    return _DECODERS[kind]


@cache
def _list_fields(kind: Hashable) -> frozenset[str]:
    info = msgspec.inspect.type_info(kind)
    fields = info.fields if isinstance(info, msgspec.inspect.StructType) else ()
    return frozenset(field.name for field in fields if isinstance(field.type, msgspec.inspect.ListType))


def _decode_loosely(body: bytes) -> Any:  # noqa: ANN401 - arbitrary JSON
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _invalid(kind: type[Any], complaint: str, given: Any) -> InvalidRequest:  # noqa: ANN401 - arbitrary JSON
    """The error for what msgspec said: `Expected `int`, got `str` - at `$.memory_bytes``."""
    match = _PATH.search(complaint)
    path = match[1] if match else "$"
    said = complaint[: match.start()] if match else complaint
    missing = re.fullmatch(r"Object (?:missing required|contains unknown) field `(.*)`", said, re.DOTALL)
    if missing:
        field = f"{path.removeprefix('$').removeprefix('.')}.{missing[1]}".strip(".")
        if "unknown" in said:
            names = ", ".join(_field_names(kind, path)) or "none"
            message = f"unknown field {_show(field)}; the fields here are: {names}"
            return _error(message, field, _find(given, path, missing[1]), f"one of {names}")
        return _error(f"{field} is missing; send it", field, None, "a value")
    field = path.removeprefix("$").removeprefix(".") or "$"
    value = _find(given, path)
    expected = _describe(kind, path) or said.removeprefix("Expected ").replace("`", "")
    return _error(f"{field} is {_show(value)}; it must be {expected}", field, value, expected)


def _error(message: str, field: str, value: Any, expected: str) -> InvalidRequest:  # noqa: ANN401 - arbitrary JSON
    return InvalidRequest(message, details={"field": field[:_SHOWN], "value": _show(value), "expected": expected})


def _find(given: Any, path: str, last: str | None = None) -> Any:  # noqa: ANN401 - arbitrary JSON
    """The value at a path such as `$.spec.ports[1]`, or None."""
    steps: list[str | int] = [int(index) if index else name for name, index in _STEP.findall(path)]
    for step in [*steps, last] if last is not None else steps:
        if isinstance(given, Mapping):
            given = given.get(str(step))
        elif isinstance(given, list) and isinstance(step, int) and step < len(given):
            given = given[step]
        else:
            return None
    return given


def _type_at(kind: type[Any], path: str) -> Any:  # noqa: ANN401 - a msgspec.inspect type
    """What msgspec expects at a path, or None where the path leads into a free-form value."""
    node: Any = msgspec.inspect.type_info(kind)
    for name, _index in _STEP.findall(path):
        node = _only(node)
        if isinstance(node, msgspec.inspect.StructType):
            node = next((field.type for field in node.fields if field.encode_name == name), None)
        elif isinstance(node, msgspec.inspect.DictType):
            node = node.value_type
        elif isinstance(node, msgspec.inspect.ListType):
            node = node.item_type
        else:
            return None
    return node


def _only(node: Any) -> Any:  # noqa: ANN401 - a msgspec.inspect type
    """An optional's type, without its None."""
    while isinstance(node, (msgspec.inspect.Metadata, msgspec.inspect.UnionType)):
        if isinstance(node, msgspec.inspect.Metadata):
            node = node.type
        else:
            kinds = [kind for kind in node.types if not isinstance(_bare(kind), msgspec.inspect.NoneType)]
            node = kinds[0]
    return node


def _bare(node: Any) -> Any:  # noqa: ANN401 - a msgspec.inspect type
    return node.type if isinstance(node, msgspec.inspect.Metadata) else node


def _field_names(kind: type[Any], path: str) -> list[str]:
    node = _only(_type_at(kind, path))
    return [field.encode_name for field in node.fields] if isinstance(node, msgspec.inspect.StructType) else []


def _describe(kind: type[Any], path: str) -> str:
    """The description that stands beside the field's type."""
    node = _type_at(kind, path.replace("[...]", ".*"))
    kinds = node.types if isinstance(node, msgspec.inspect.UnionType) else [node]
    for each in kinds:
        if isinstance(each, msgspec.inspect.Metadata):
            said = (each.extra_json_schema or {}).get("description")
            if isinstance(said, str):
                return said
    return ""


def _show(value: Any) -> str:  # noqa: ANN401 - arbitrary JSON
    """A value, short enough for a sentence and safe for a log line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


