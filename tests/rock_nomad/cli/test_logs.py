from __future__ import annotations

import subprocess
import sys

import pytest

from tests.clis import ROOT, SMALL, Dev

pytestmark = pytest.mark.slow


def _begin(dev: Dev, sandbox: str, command: str) -> str:
    """The id of a command that is begun in the background."""
    return dev.rock_nomad("exec", sandbox, "--shell", "--", f"{command} & echo $!").stdout.strip()


def _follow(dev: Dev, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rock_nomad", "logs", "-f", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=dev.environment, stdout=subprocess.PIPE, text=True)


def test_the_rocklets_log_is_printed_while_it_lives_and_after_its_end(dev: Dev) -> None:
    dev.rock_nomad("submit", *SMALL, "--id", "logs-ended")
    with _follow(dev, "logs-ended") as follower:
        assert follower.stdout is not None
        assert "listens on" in follower.stdout.readline()
        dev.rock_nomad("stop", "logs-ended")
        assert follower.wait(timeout=120) == 0
    ran = dev.rock_nomad("logs", "logs-ended")
    assert (ran.returncode, "sandbox logs-ended listens on" in ran.stdout, ran.stderr) == (0, True, "")


def test_a_command_in_the_background_is_followed_to_its_end(dev: Dev, sandbox: str) -> None:
    dev.rock_nomad("exec", sandbox, "--shell", "--", "mkfifo ~/gate")
    script = "echo one; echo other >&2; read go < ~/gate; echo two; rm ~/gate"
    pid = _begin(dev, sandbox, f"nohup sh -c '{script}' > ~/out 2> ~/err")
    assert dev.rock_nomad("logs", sandbox, "--process", pid, "--stderr").stdout == "other\n"
    with _follow(dev, sandbox, "--process", pid) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        dev.rock_nomad("exec", sandbox, "--shell", "--", "echo go > ~/gate")
        assert follower.stdout.read() == "two\n"
        assert follower.wait(timeout=120) == 0


def test_whoever_has_seen_enough_may_close_the_pipe(dev: Dev, sandbox: str) -> None:
    pid = _begin(dev, sandbox, "nohup sh -c 'while echo more; do :; done' > ~/endless 2>&1")
    with _follow(dev, sandbox, "--process", pid) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "more\n"
        follower.stdout.close()
        assert follower.wait(timeout=120) == 0
    dev.rock_nomad("exec", sandbox, "--", "kill", pid)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "there is no sandbox nobody"),
        (["SANDBOX", "--process", "2147483647"], "no process 2147483647 runs in sandbox SANDBOX"),
        (["nobody", "--process", "1"], "there is no sandbox nobody"),
    ],
)
def test_what_has_no_log_says_so(dev: Dev, sandbox: str, arguments: list[str], said: str) -> None:
    ran = dev.rock_nomad("logs", *(argument.replace("SANDBOX", sandbox) for argument in arguments))
    assert (ran.returncode, said.replace("SANDBOX", sandbox) in ran.stderr, ran.stdout) == (2, True, "")


def test_a_command_that_writes_to_no_file_says_how_it_would(dev: Dev, sandbox: str) -> None:
    pid = _begin(dev, sandbox, "sleep 30 > /dev/null 2>&1")
    ran = dev.rock_nomad("logs", sandbox, "--process", pid)
    assert (ran.returncode, "nohup ... > FILE 2>&1 &` has it in a file" in ran.stderr) == (2, True)
    dev.rock_nomad("exec", sandbox, "--", "kill", pid)
