from __future__ import annotations

import pytest

from rock.wire.errors import CommandFailed, FileAccess, LimitReached, RockException, SessionExists, SessionNotFound
from rocklet.dialects.swerex.faults import CommandTimeoutError, NonZeroExitCodeError, SwerexFault, transfer


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (SessionExists("there"), "swerex.exceptions.SessionExistsError"),
        (SessionNotFound("not there"), "swerex.exceptions.SessionDoesNotExistError"),
        (CommandTimeoutError("late"), "swerex.exceptions.CommandTimeoutError"),
        (NonZeroExitCodeError("3"), "swerex.exceptions.NonZeroExitCodeError"),
        (LimitReached("full"), "swerex.exceptions.SwerexException"),
    ],
)
def test_a_client_of_swe_rex_has_the_class_of_each_error(error: SwerexFault | RockException, path: str) -> None:
    assert transfer(error).class_path == path
    assert transfer(error).message == str(error)


def test_an_error_of_the_operating_system_keeps_its_class() -> None:
    error = FileAccess("no")
    error.__cause__ = IsADirectoryError()
    assert transfer(error).class_path == "builtins.IsADirectoryError"


def test_a_syntax_error_brings_the_shells_words_apart() -> None:
    error = CommandFailed("not begun", details={"cause": "syntax", "output": "line 1: ..."})
    said = transfer(error)
    assert said.class_path == "swerex.exceptions.BashIncorrectSyntaxError"
    assert said.extra_info == {"bash_stdout": "", "bash_stderr": "line 1: ..."}
