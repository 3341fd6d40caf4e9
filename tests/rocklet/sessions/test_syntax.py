import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rock.wire.errors import CommandFailed
from rocklet.sessions.syntax import _is_plain
from tests.rocklet.callers import Caller


@pytest.mark.parametrize(
    "command",
    [
        *("", "\n", "ls -la /tmp", "kill -0 12", "PATH=/bin:x make -j2", "python3 a.py --b=c,d", "a; b;", "a\nb\n\n"),
        *("cd /x && make 2>&1 | tail -n 3", "echo \"$x 'y'\" 'z$(' > out; cat < in", "a &&\nb", "echo done $? $$"),
    ],
)
def test_programs_with_plain_arguments_need_no_parser(command: str) -> None:
    assert _is_plain(command)


@pytest.mark.parametrize(
    "command",
    [
        *("if", "done", "  fi", "a; done", "time", "echo 'x", 'echo "', "f() {", "$(", "a & b", "a;; b", "a &&", "| a"),
        *("a > ", "a >; b", "a[0", "`a", 'echo "$(a)"', "$'\\''", "cat <<E", "{ a", "! a", "(a)", "a\\", "x" * 5000),
    ],
)
def test_whatever_else_is_shown_to_the_shell(command: str) -> None:
    assert not _is_plain(command)


_WORDS = ["ls", "x=1", "$x", "'a;\n b'", '"$x; y"', "done", "if", "then", "time", "[[", "a[0", "in", "1", "2", "*"]
_SIGNS = [*"|;&\n><!{}()#\\'\"$", "||", "&&", ">>", ">&2", "2>&1"]
_PIECES = st.tuples(st.sampled_from(_WORDS + _SIGNS), st.sampled_from(["", " "]))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.lists(_PIECES, max_size=8))
def test_what_needs_no_parser_passes_it(pieces: list[tuple[str, str]]) -> None:
    command = "".join(piece + blank for piece, blank in pieces)
    if _is_plain(command):
        text = f"{command}\n".encode()
        ran = subprocess.run(["bash", "-n"], input=text, capture_output=True, check=False, timeout=60)
        assert (ran.returncode, ran.stderr) == (0, b"")


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
