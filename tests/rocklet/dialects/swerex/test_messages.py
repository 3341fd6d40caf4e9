from __future__ import annotations

import pytest

from rock.wire import codec
from rock.wire.errors import InvalidRequest
from rocklet.dialects.swerex.messages import Action, Command, Interrupt, StartSession


def test_an_action_is_what_its_tag_says() -> None:
    assert codec.decode(Action, b'{"action_type":"bash","command":"ls"}') == Command(command="ls")  # type: ignore[arg-type]  # mypy has no type for a union
    assert codec.decode(Action, b'{"action_type":"bash_interrupt"}') == Interrupt()  # type: ignore[arg-type]  # likewise


@pytest.mark.parametrize("body", [b"{}", b'{"session":"a"}', b'{"session_type":"zsh"}'])
def test_a_session_needs_its_tag(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="session_type"):
        codec.decode(StartSession, body)


def test_a_field_that_nobody_knows_is_ignored() -> None:
    assert codec.decode(StartSession, b'{"session_type":"bash","color":"red"}').session == "default"
