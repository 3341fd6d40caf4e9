import pytest

from rock.wire.errors import CommandFailed
from rocklet.sessions.syntax import _is_plain
from tests.rocklet.callers import Caller


@pytest.mark.parametrize("command", ["", "ls -la /tmp", "kill -0 12", "PATH=/bin:x make -j2", "python3 a.py --b=c,d"])
def test_a_program_with_its_arguments_needs_no_parser(command: str) -> None:
    assert _is_plain(command)


@pytest.mark.parametrize("command", ["if", "done", "  fi", "time", "a; b", "a\nb", "echo 'x", "f() {", "$(", "a & b"])
def test_whatever_else_is_shown_to_the_shell(command: str) -> None:
    assert not _is_plain(command)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["echo ran\n(", "echo ran; done", "fi", "echo 'ran", "cat <(echo ran"])
async def test_of_a_command_with_a_syntax_error_nothing_is_run(bash: Caller, command: str) -> None:
    with pytest.raises(CommandFailed, match="syntax error") as caught:
        await bash.run(command, check_syntax=True)
    assert caught.value.details["executed"] == "no"
    assert caught.value.details["output"].startswith("/bin/bash: line ")
    assert (await bash.run("echo next")).output == "next\n"


@pytest.mark.slow
async def test_what_can_be_parsed_runs(bash: Caller) -> None:
    command = "for i in 1 2; do\n  cat <<END\n$i\nEND\ndone"
    assert (await bash.run(command, check_syntax=True)).output == "1\n2\n"
