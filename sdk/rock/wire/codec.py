"""Bytes to structs and back.  What does not fit raises `InvalidRequest`, naming the field, the value, the remedy."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from rock.wire._complaint import invalid_field, show
from rock.wire.errors import InvalidRequest

__all__ = ["convert", "decode", "decode_json", "decode_query", "encode", "encode_query"]

_T = TypeVar("_T")
_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(struct: msgspec.Struct) -> bytes:
    """A struct as JSON."""
    return _ENCODER.encode(struct)


def decode(kind: type[_T], body: bytes) -> _T:
    """The struct that a JSON body says; an empty body says `{}`.

    Raises InvalidRequest: fix the field that it names.
    """
    body = body or b"{}"
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        raise _misfit(kind, body, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(body, str(error)) from error
    except RecursionError as error:
        raise _not_json(body, "it is nested too deeply") from error


def decode_json(body: bytes) -> Any:  # noqa: ANN401 - arbitrary JSON
    """What a body says, whatever it is; an empty one says `{}`.

    Raises InvalidRequest: it is not JSON.
    """
    try:
        return msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(body, str(error)) from error
    except RecursionError as error:
        raise _not_json(body, "it is nested too deeply") from error


def convert(kind: type[_T], value: Any, *, is_strict: bool = True) -> _T:  # noqa: ANN401 - arbitrary JSON
    """The struct that decoded JSON says; not strictly, numbers and truths may be texts.

    Raises InvalidRequest: fix the field that it names.
    """
    try:
        return msgspec.convert(value, kind, strict=is_strict)
    except msgspec.ValidationError as error:
        raise invalid_field(kind, str(error), value) from error


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
                details={"field": name, "value": show(value), "expected": "one value"},
            )
        else:
            fields[name] = value
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_field(kind, str(error), fields) from error


def encode_query(struct: msgspec.Struct) -> list[tuple[str, str]]:
    """A struct of scalars and lists as the pairs of a query string; what is None is left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in msgspec.to_builtins(struct).items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                pairs.append((name, str(item).lower() if isinstance(item, bool) else str(item)))
    return pairs


def _decoder(kind: type[_T]) -> msgspec.json.Decoder[_T]:
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(kind)
    return _DECODERS[kind]


@cache
def _list_fields(kind: Hashable) -> frozenset[str]:
    info = inspect.type_info(kind)
    fields = info.fields if isinstance(info, inspect.StructType) else ()
    return frozenset(field.encode_name for field in fields if _is_list(field.type))


def _is_list(node: inspect.Type) -> bool:
    return isinstance(node.type if isinstance(node, inspect.Metadata) else node, inspect.ListType)


def _misfit(kind: type[Any], body: bytes, error: msgspec.ValidationError) -> InvalidRequest:
    """The error for JSON of the wrong shape; msgspec stops at the first fault, so the rest may be no JSON at all."""
    try:
        return invalid_field(kind, str(error), msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as worse:
        return _not_json(body, str(worse))
    except RecursionError:
        return _not_json(body, "it is nested too deeply")


def _not_json(body: bytes, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"the body is not JSON: {why}; send a JSON object",
        details={"field": "$", "value": show(body[:64]), "expected": "a JSON object"},
    )
