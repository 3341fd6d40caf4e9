from __future__ import annotations

import json
import logging
import re
import sys

import pytest

from rock_nomad.device_plugin.logs import HclogFormatter


def _format(level: int, text: str, *arguments: object, exc_info: bool = False) -> dict[str, object]:
    error = sys.exc_info() if exc_info else None
    line = HclogFormatter().format(logging.LogRecord("where", level, "", 0, text, arguments, error))
    assert "\n" not in line
    assert len(line) < 64 * 1024
    entry: dict[str, object] = json.loads(line)
    # Of any other kind the agent dies.
    assert all(isinstance(value, str) for value in entry.values())
    return entry


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.DEBUG, "debug"),
        (logging.INFO, "info"),
        (logging.WARNING, "warn"),
        (logging.CRITICAL, "error"),
        (7, "trace"),
    ],
)
def test_a_line_is_what_the_agent_reads(level: int, name: str) -> None:
    entry = _format(level, "%d devices", 3)
    assert (entry["@level"], entry["@message"], entry["@module"]) == (name, "3 devices", "where")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(entry["@timestamp"]))


def test_a_traceback_is_folded_into_its_line() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        entry = _format(logging.ERROR, "failed", exc_info=True)
    assert str(entry["@message"]).startswith("failed: Traceback")
    assert "ValueError: why" in str(entry["@message"])


@pytest.mark.parametrize("text", ["x" * 200_000, "\n" * 200_000, "\x00\ud800 €" * 5000])
def test_a_message_of_any_kind_and_length_is_one_line(text: str) -> None:
    _format(logging.INFO, "%s", text)
