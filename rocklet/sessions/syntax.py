"""Whether a command can be parsed, asked of the shell itself before anything is run."""

from __future__ import annotations

import re

from rock.wire.errors import CommandFailed
from rock.wire.messages import ExecuteRequest
from rocklet.actions import Call
from rocklet.execute import execute
from rocklet.processes import Children
from rocklet.sessions.shell import find_flavor
from rocklet.surroundings import Surroundings

__all__ = ["check_syntax"]

_TIMEOUT = 30.0  # seconds; a megabyte takes some 50 ms
_SYNTAX_ERROR = 2  # the exit code that bash and sh have for it
_OWN_NAME = re.compile(r"^\S*sh: ", re.MULTILINE)
# Without what opens something: backslashes, substitutions, brackets, braces.  Each part begins with characters of its
# own, so that there is one way to match.  No possessive quantifiers: Python 3.11.2 takes "ls'" for a word with them.
_WORD = r"""(?:[\w./:=,@%+~?*^-]|\$[\w?$]|'[^']*'|"(?:[^"\\`$]|\$[\w?$])*")+"""
_WORD_ENDS = r"""(?![\w./:=,@%+~?*^$'"<>-])"""
_TOKEN = re.compile(
    rf"(?P<blank>[ \t]+)|(?P<newline>\n)|(?P<join>&&|\|\||[;|])"
    rf"|(?P<redirection>\d?(?:>&\d|(?:>>?|<)[ \t]*{_WORD}{_WORD_ENDS}))|(?P<word>{_WORD})",
    re.ASCII,
)
_LONGEST_PLAIN = 4096  # characters that are looked at here: a millisecond, where a fork takes several
_RESERVED = frozenset(
    {"if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in"}
    | {"select", "function", "time", "coproc"}
)


async def check_syntax(command: str, call: Call, children: Children, surroundings: Surroundings) -> None:
    """Let pass what the shell can parse; a child of its own does it, so that the session's shell is untouched.

    Raises CommandFailed: it cannot; `details["output"]` has the shell's words, as `/bin/bash` says them wherever it is:
    trainers (ROLL) look for `/bin/bash: line 1: `.
    """
    if _is_plain(command):
        return  # the fork is saved, which costs more than most commands do
    _flavor, program = find_flavor(surroundings.env["PATH"])
    request = ExecuteRequest(command=[program, "-n"], stdin=f"{command}\n", timeout=_TIMEOUT)
    checked = await execute(request, call, children, surroundings)
    if checked.exit_code == _SYNTAX_ERROR:
        complaint = _OWN_NAME.sub("/bin/bash: ", checked.stderr)
        raise CommandFailed(
            f"the command has a syntax error and was not begun: {complaint.strip()}",
            details={"output": complaint, "executed": "no", "cause": "syntax"},
        )


def _is_plain(command: str) -> bool:
    """Whether it is programs with plain arguments, one after the other: what no parser can stumble over."""
    at, begins, may_end = 0, True, True
    while at < len(command) <= _LONGEST_PLAIN:
        token = _TOKEN.match(command, at)
        if token is None or (begins and (token.lastgroup == "join" or token["word"] in _RESERVED)):
            return False
        if token.lastgroup == "join":
            begins, may_end = True, token["join"] == ";"
        elif token.lastgroup == "newline" and not begins:
            begins, may_end = True, True
        elif token.lastgroup == "word":
            begins = False
        at = token.end()
    return at == len(command) and (may_end or not begins)
