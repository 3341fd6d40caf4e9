from __future__ import annotations

import pytest

from rock.wire.codec import decode, encode
from rock.wire.commands import CommandInput, CommandSignal, StartCommandRequest
from rock.wire.errors import InvalidRequest


def test_any_bytes_can_be_sent_to_a_command() -> None:
    sent = CommandInput(command_id="c", data=bytes(range(256)), is_last=True)
    assert decode(CommandInput, encode(sent)) == sent


def test_a_command_is_started_with_all_that_execute_takes() -> None:
    asked = decode(StartCommandRequest, b'{"command": ["true"], "cwd": "/", "silence_timeout": 3, "background": true}')
    assert (asked.command, asked.cwd, asked.silence_timeout, asked.background) == (["true"], "/", 3.0, True)


@pytest.mark.parametrize(
    ("kind", "body", "named"),
    [
        (StartCommandRequest, b'{"command": "x", "command_id": "../x"}', "command_id"),
        (StartCommandRequest, b'{"command": "x", "backgrund": true}', "backgrund"),
        (CommandSignal, b'{"command_id": "c", "signal": 65}', "signal"),
        (CommandInput, b'{"command_id": "c", "data": "!"}', "data"),
    ],
)
def test_what_is_wrong_is_named(kind: type[StartCommandRequest], body: bytes, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        decode(kind, body)
