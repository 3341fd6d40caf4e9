from __future__ import annotations

import pytest

from rock_nomad.embedded.constraints import device_is_met, is_met, parse_attribute


@pytest.mark.parametrize(
    ("left", "operand", "right"),
    [
        ("amd64", "=", "amd64"),
        ("amd64", "==", "amd64"),
        ("amd64", "is", "amd64"),
        ("amd64", "!=", "arm64"),
        (None, "!=", "arm64"),
        ("10", ">", "9"),
        ("9.5", ">=", "9"),
        ("b", ">", "a"),
        ("1", "<=", "1"),
        ("1", "<", "2"),
        ("runc, runsc", "set_contains", "runsc"),
        ("a,b,c", "set_contains", "c, a"),
        ("NVIDIA H100", "regexp", "H(1|2)00"),
        ("1.8.7", "semver", ">= 1.8.0"),
        ("2.0.5", "version", ">= 1.8, < 3"),
        ("1.4.9", "version", "~> 1.4"),
        ("x", "is_set", ""),
        (None, "is_not_set", ""),
    ],
)
def test_a_constraint_is_met(left: str | None, operand: str, right: str) -> None:
    assert is_met(operand, left, right)


@pytest.mark.parametrize(
    ("left", "operand", "right"),
    [
        (None, "=", "x"),
        ("9", ">", "10"),
        ("runc", "set_contains", "runsc"),
        ("runc", "regexp", "^x"),
        ("1.7.9", "semver", ">= 1.8.0"),
        ("2.1.0", "version", "~> 1.4"),
        ("no version", "version", ">= 1"),
        ("1.0", "version", "about one"),
        (None, "is_set", ""),
        ("x", "is_not_set", ""),
        ("x", "distinct_hosts", "x"),
    ],
)
def test_a_constraint_is_not_met(left: str | None, operand: str, right: str) -> None:
    assert not is_met(operand, left, right)


@pytest.mark.parametrize(
    ("device", "operand", "wanted", "expected"),
    [
        ("81559 MiB", ">=", "70 GiB", True),
        ("23028 MiB", ">=", "70 GiB", False),
        ("81559 MiB", "<", "100 GB", True),
        ("1980 MHz", ">", "1.5 GHz", True),
        ("700 W", "=", "0.7 kW", True),
        ("700 W", ">", "1 MiB", False),
        ("9.0", ">=", "8", True),
        ("false", "=", "false", True),
        ("570.124.06", "version", ">= 550", True),
        ("NVIDIA H100", "regexp", "H100|H200", True),
        ("NVIDIA H100", "=", "NVIDIA A10G", False),
    ],
)
def test_devices_are_compared_in_units(device: str, operand: str, wanted: str, expected: bool) -> None:
    assert device_is_met(operand, parse_attribute(device), parse_attribute(wanted)) is expected


def test_an_attribute_a_device_lacks_meets_nothing_but_its_absence() -> None:
    assert not device_is_met(">=", None, parse_attribute("1"))
    assert not device_is_met("is_set", None, None)
    assert device_is_met("is_not_set", None, None)
    assert device_is_met("!=", None, parse_attribute("1"))
