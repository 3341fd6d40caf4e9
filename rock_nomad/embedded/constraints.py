"""Constraints of jobs and devices against attributes.  Pure.

Source: hashicorp/nomad scheduler/feasible (checkConstraint, checkAttributeConstraint) and its attribute units.
Only the operands the control plane renders are known; any other is never met, so that it shows as filtered.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

Attribute = Mapping[str, Any]  # {"Bool" | "Float" | "Int" | "String": value, "Unit": text}, the others null
EMPTY_ATTRIBUTE: Attribute = {"Bool": None, "Float": None, "Int": None, "String": None, "Unit": ""}

_NUMBER = re.compile(r"^\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z/]*)\s*$")
_BOUND = re.compile(r"^(=|!=|>=|<=|>|<|~>)?\s*v?(\d+(?:\.\d+)*)(-[0-9A-Za-z.-]+)?")
_UNITS: dict[str, tuple[str, float]] = {
    "": ("", 1.0),
    **{f"{p}iB": ("byte", 1024.0 ** (n + 1)) for n, p in enumerate("KMGTPE")},
    **{f"{p}B": ("byte", 1000.0 ** (n + 1)) for n, p in enumerate("kMGTPE")},
    "kiB": ("byte", 1024.0), "KB": ("byte", 1000.0), "B": ("byte", 1.0),
    "MHz": ("hertz", 1e6), "GHz": ("hertz", 1e9),
    "mW": ("watt", 1e-3), "W": ("watt", 1.0), "kW": ("watt", 1e3), "MW": ("watt", 1e6), "GW": ("watt", 1e9),
    **{f"{p}B/s": ("byte/s", 1000.0 ** (n + 1)) for n, p in enumerate("kMGTPE")},
    **{f"{p}iB/s": ("byte/s", 1024.0 ** (n + 1)) for n, p in enumerate("kMGTPE")},
}  # fmt: skip
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: bool(left == right), "==": lambda left, right: bool(left == right),
    "is": lambda left, right: bool(left == right), "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right), "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right), ">=": lambda left, right: bool(left >= right),
}  # fmt: skip
_EQUALITY = ("=", "==", "is", "!=")


def is_met(operand: str, left: str | None, right: str | None) -> bool:
    """Whether a node's value (None: it has none) satisfies a constraint."""
    if operand == "is_set":
        return left is not None
    if operand == "is_not_set":
        return left is None
    if operand == "!=":
        return left != right
    if left is None or right is None:
        return False
    if operand in ("version", "semver"):
        return _meets_version(left, right)
    if operand == "regexp":
        return re.search(right, left) is not None
    if operand == "set_contains":
        return _items(right) <= _items(left)
    if operand in _EQUALITY:
        return left == right
    return operand in _ORDERS and _in_order(operand, left, right)


def device_is_met(operand: str, left: Attribute | None, right: Attribute | None) -> bool:
    """Whether a device's attribute satisfies a constraint; quantities are compared in a common unit."""
    if operand in ("is_set", "is_not_set"):
        return (left is None) == (operand == "is_not_set")
    if left is None or right is None:
        return operand == "!=" and left is not right
    quantities = _quantity(left), _quantity(right)
    if operand in _ORDERS and quantities[0] and quantities[1]:
        (dimension, value), (other, bound) = quantities[0], quantities[1]
        return dimension == other and _ORDERS[operand](value, bound)
    return is_met(operand, _text(left), _text(right))


def parse_attribute(text: str) -> Attribute:
    """A literal of a device constraint: `70 GiB`, `9.0`, `true`, or a string."""
    if text.lower() in ("true", "false"):
        return {**EMPTY_ATTRIBUTE, "Bool": text.lower() == "true"}
    if (match := _NUMBER.match(text)) and match[2] in _UNITS:
        kind = "Float" if "." in match[1] else "Int"
        return {**EMPTY_ATTRIBUTE, kind: float(match[1]) if "." in match[1] else int(match[1]), "Unit": match[2]}
    return {**EMPTY_ATTRIBUTE, "String": text}


def _items(text: str) -> set[str]:
    return {item.strip() for item in text.split(",")}


def _in_order(operand: str, left: str, right: str) -> bool:
    for read in (int, float):
        try:
            return _ORDERS[operand](read(left), read(right))
        except ValueError:
            continue
    return _ORDERS[operand](left, right)


def _quantity(attribute: Attribute) -> tuple[str, float] | None:
    value = attribute["Int"] if attribute["Int"] is not None else attribute["Float"]
    if value is None or attribute["Unit"] not in _UNITS:
        return None
    dimension, factor = _UNITS[attribute["Unit"]]
    return dimension, value * factor


def _text(attribute: Attribute) -> str:
    for kind in ("String", "Int", "Float"):
        if attribute[kind] is not None:
            return f"{attribute[kind]}{attribute['Unit']}"
    return "true" if attribute["Bool"] else "false"


def _meets_version(version: str, bounds: str) -> bool:
    left = _BOUND.match(version.strip())
    return left is not None and all(_meets_bound(_numbers(left[2]), bound.strip()) for bound in bounds.split(","))


def _meets_bound(version: tuple[int, ...], bound: str) -> bool:
    match = _BOUND.match(bound)
    if match is None:
        return False
    right, operand = _numbers(match[2]), match[1] or "="
    if operand == "~>":
        parts = match[2].count(".")
        return version >= right and version[: max(parts, 1)] == right[: max(parts, 1)]
    return _ORDERS[operand](version, right)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))
