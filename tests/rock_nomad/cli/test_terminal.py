from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.clis import ROOT, Dev

pytestmark = pytest.mark.slow

TIMEOUT = 60  # seconds


@contextmanager
def at_terminal(dev: Dev, *arguments: str) -> Iterator[pexpect.spawn]:
    """`rock-nomad shell` on a terminal of 24 rows and 80 columns."""
    environment = {**dev.environment, "TERM": "xterm"}
    del environment["COLUMNS"]
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "rock_nomad", "shell", *arguments],
        cwd=str(ROOT),
        env=environment,
        timeout=TIMEOUT,
        dimensions=(24, 80),
    )
    try:
        yield terminal
    finally:
        terminal.close(force=True)


def _type(terminal: pexpect.spawn, line: str, *, prompt: str = "> ") -> None:
    """Type a line at a prompt, as a person would: what comes while a shell changes its modes may be lost to it."""
    terminal.expect(prompt)
    terminal.sendline(line)


def _exit_code(terminal: pexpect.spawn) -> int:
    terminal.expect(pexpect.EOF)
    return int(terminal.wait())


def test_a_shell_takes_keys_ctrl_c_and_a_new_size_and_ends_with_its_exit_code(dev: Dev, sandbox: str) -> None:
    with at_terminal(dev, sandbox) as terminal:
        _type(terminal, "PS1='> '", prompt=r"[#$] ")
        _type(terminal, "stty size; echo kind-$TERM")
        terminal.expect_exact("24 80\r\n")
        terminal.expect_exact("kind-xterm\r\n")
        _type(terminal, "echo begun; sleep 60; echo no''t-reached")
        terminal.expect_exact("begun\r\n")
        terminal.sendcontrol("c")
        _type(terminal, "echo status=$?")
        assert terminal.expect_exact(["status=130", "not-reached"]) == 0
        _type(terminal, "trap 'echo now $(stty size)' WINCH; echo rea''dy")
        terminal.expect_exact("ready\r\n")
        terminal.setwinsize(40, 132)
        terminal.expect_exact("now 40 132")
        _type(terminal, "exit 7", prompt="")
        assert _exit_code(terminal) == 7


@pytest.mark.parametrize("editor", ["vi", "less"])
def test_a_program_that_paints_the_screen_works(dev: Dev, sandbox: str, editor: str, tmp_path: Path) -> None:
    if shutil.which(editor) is None:
        pytest.skip(f"no {editor} on this machine")
    written = tmp_path / "text"
    written.write_text("".join(f"line {number}\n" for number in range(100)))
    with at_terminal(dev, sandbox, "--", editor, str(written)) as terminal:
        terminal.expect_exact("line 20")
        terminal.send("G")
        terminal.expect_exact("99")  # vi paints only what differs
        if editor == "vi":
            terminal.send("ofrom the other side\x1b")
            terminal.send(":wq\r")
        else:
            terminal.send("q")
        assert _exit_code(terminal) == 0
    assert written.read_text().splitlines()[-1] == ("from the other side" if editor == "vi" else "line 99")


def test_the_terminal_is_as_it_was_afterwards(dev: Dev, sandbox: str) -> None:
    with at_terminal(dev, sandbox, "--", "true") as terminal:
        assert _exit_code(terminal) == 0
    shell = f"{sys.executable} -m rock_nomad shell {sandbox} -- sh -c 'exit 3'; echo code=$?; stty -a"
    with_shell = pexpect.spawn("/bin/sh", ["-c", shell], cwd=str(ROOT), env=dev.environment, timeout=TIMEOUT)
    with_shell.expect_exact("code=3")
    with_shell.expect(r"[^-]icanon")
    with_shell.expect(r"[^-]echo ")
    with_shell.close(force=True)


def test_without_a_terminal_or_a_sandbox_it_says_what_to_do(dev: Dev, sandbox: str) -> None:
    ran = dev.rock_nomad("shell", sandbox)
    assert (ran.returncode, "use exec in scripts" in ran.stderr) == (2, True)
    with at_terminal(dev, "nobody") as terminal:
        terminal.expect_exact("there is no sandbox nobody")
        assert _exit_code(terminal) == 2
