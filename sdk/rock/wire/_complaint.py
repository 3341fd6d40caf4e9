"""What msgspec says is wrong with a message, turned into an error for the person who wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import inspect

from rock.wire.errors import InvalidRequest

__all__ = ["invalid_field", "show"]

_SHOWN = 80  # characters of a wrong value that an error repeats
_WHERE = re.compile(r" - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`$")
_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_SECRET = re.compile(r"(?:^|\.)(?:password|token|env)\b")
_MISMATCH = re.compile(r"Expected `(?P<types>[^`]*)`, got `[^`]*`")
_TYPES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
"""msgspec's names of what JSON has, in words."""
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def invalid_field(kind: type[Any], complaint: str, given: Any) -> InvalidRequest:  # noqa: ANN401 - arbitrary JSON
    """The error for a complaint of msgspec's about a value that was to become a `kind`.

    Complaints read ``Expected `int`, got `str` - at `$.spec.gpus` ``; `...` stands for any key of a mapping.
    """
    where = _WHERE.search(complaint)
    path = where["path"] if where else "$"
    said = complaint[: where.start()] if where else complaint
    if match := _FIELD.fullmatch(said):
        return _wrong_name(kind, path, match["name"], given, is_missing=match["what"].startswith("missing"))
    field = _dotted(path)
    value = _find(given, path)
    node = _type_at(kind, path)
    if where and where["key"]:
        expected = _describe(getattr(_only(node), "key_type", None)) or said
        return _error(f"a key of {field} is wrong: each must be {expected}", field, value, expected)
    expected = _describe(node) or _in_words(said)
    return _error(f"{field} is {_shown(field, value)}; it must be {expected}", field, value, expected)


def show(value: Any) -> str:  # noqa: ANN401 - arbitrary JSON
    """A value, short enough for a sentence and safe for a log line."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _in_words(said: str) -> str:
    """What msgspec expected, as a person says it."""
    if match := _MISMATCH.fullmatch(said):
        types = (each for each in match["types"].split(" | ") if each != "null")
        return " or ".join(_TYPES.get(each, each) for each in types)
    return said.removeprefix("Expected ").replace("`", "")


def _wrong_name(kind: type[Any], path: str, name: str, given: Any, *, is_missing: bool) -> InvalidRequest:  # noqa: ANN401 - arbitrary JSON
    field = f"{_dotted(path)}.{name}".removeprefix("$.")
    if is_missing:
        expected = _describe(_type_at(kind, f"{path}.{name}")) or "a value"
        return _error(f"{field} is missing; send {expected}", field, None, expected)
    node = _only(_type_at(kind, path))
    names = ", ".join(f.encode_name for f in node.fields) if isinstance(node, inspect.StructType) else ""
    fields = f"the fields here are {names}" if names else "no field may stand here"
    return _error(f"unknown field {show(field)}; {fields}", field, _find(given, f"{path}.{name}"), fields)


def _error(message: str, field: str, value: Any, expected: str) -> InvalidRequest:  # noqa: ANN401 - arbitrary JSON
    details = {"field": field[:_SHOWN], "value": _shown(field, value), "expected": expected}
    return InvalidRequest(message, details=details)


def _shown(field: str, value: Any) -> str:  # noqa: ANN401 - arbitrary JSON
    """A value, unless its field may hold a secret: errors reach logs."""
    return "(hidden)" if _SECRET.search(field) else show(value)


def _dotted(path: str) -> str:
    """`$.spec.gpus` as a person writes it: `spec.gpus`."""
    return path.removeprefix("$").removeprefix(".").replace("[...]", "") or "$"


def _find(given: Any, path: str) -> Any:  # noqa: ANN401 - arbitrary JSON
    """The value at a path such as `$.spec.ports[1]`; before `[...]`, the whole mapping; None if there is none."""
    for name, index in _STEP.findall(path):
        if index == "...":
            return given
        if isinstance(given, Mapping):
            given = given.get(name)
        elif isinstance(given, list) and index and int(index) < len(given):
            given = given[int(index)]
        else:
            return None
    return given


def _type_at(kind: type[Any], path: str) -> inspect.Type | None:
    """What stands at a path in a struct, or None where the path leads into something free-form."""
    node: inspect.Type | None = inspect.type_info(kind)
    for name, _index in _STEP.findall(path):
        node = _only(node)
        if isinstance(node, inspect.StructType):
            node = next((field.type for field in node.fields if field.encode_name == name), None)
        elif isinstance(node, inspect.DictType):
            node = node.value_type
        elif isinstance(node, inspect.ListType):
            node = node.item_type
        else:
            return None
    return node


def _alternatives(node: inspect.Type | None) -> list[inspect.Type]:
    """The types a value may have, without None; each perhaps still in its Metadata."""
    if isinstance(node, inspect.Metadata) and isinstance(node.type, inspect.UnionType):
        node = node.type
    types = node.types if isinstance(node, inspect.UnionType) else [node]
    return [each for each in types if each is not None and not isinstance(each, inspect.NoneType)]


def _only(node: inspect.Type | None) -> inspect.Type | None:
    """A type, without its metadata and without its None."""
    for each in _alternatives(node):
        return each.type if isinstance(each, inspect.Metadata) else each
    return None


def _describe(node: inspect.Type | None) -> str:
    """What may stand there, in the words beside the type or as a list of values."""
    said = [_describe_one(each) for each in _alternatives(node)]
    return ", or ".join(each for each in said if each)


def _describe_one(node: inspect.Type) -> str:
    if isinstance(node, inspect.Metadata):
        description = (node.extra_json_schema or {}).get("description")
        return description if isinstance(description, str) else _describe_one(node.type)
    if isinstance(node, inspect.LiteralType):
        return f"one of {', '.join(map(str, node.values))}"
    if isinstance(node, inspect.EnumType):
        return f"one of {', '.join(str(member.value) for member in node.cls)}"
    return ""
