from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clis import ROOT, Dev

pytestmark = pytest.mark.slow


def _begin(dev: Dev, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rock_nomad", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=dev.environment, stdin=pipe, stdout=pipe, stderr=pipe)


def test_exec_takes_arguments_as_they_stand(dev: Dev, sandbox: str) -> None:
    assert dev.rock_nomad("exec", sandbox, "--", "printf", "%s|", "a b", "$HOME", "--x").stdout == "a b|$HOME|--x|"


@pytest.mark.parametrize(
    ("limit", "said"), [("--timeout", "timed out after 0.2 s"), ("--silence-timeout", "printed nothing for 0.2 s")]
)
def test_a_limit_that_is_reached_is_told(dev: Dev, sandbox: str, limit: str, said: str) -> None:
    late = dev.rock_nomad("exec", sandbox, limit, "0.2", "--", "sleep", "60")
    assert (late.returncode, said in late.stderr) == (124, True)


def test_what_it_prints_is_shown_as_it_comes_and_it_takes_stdin(dev: Dev, sandbox: str) -> None:
    script = "printf 'on\\377\\n'; while read line; do echo \"got $line\"; done; echo over >&2; exit 5"
    with _begin(dev, "exec", "-i", sandbox, "--shell", "--", script) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.readline() == b"on\xff\n"
        running.stdin.write(b"one\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"got one\n"
        out, err = running.communicate(b"two\n", timeout=60)
        assert (out, err, running.returncode) == (b"got two\n", b"over\n", 5)


def test_a_file_can_be_its_stdin(dev: Dev, sandbox: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(range(256)) * 1000)
    command = [sys.executable, "-m", "rock_nomad", "exec", "-i", sandbox, "--", "wc", "-c"]
    with (tmp_path / "in").open("rb") as stdin:
        ran = subprocess.run(
            command, cwd=ROOT, env=dev.environment, stdin=stdin, capture_output=True, timeout=60, check=False
        )
    assert (ran.stdout.strip(), ran.returncode) == (b"256000", 0), ran.stderr


def test_ctrl_c_ends_the_command(dev: Dev, sandbox: str) -> None:
    with _begin(dev, "exec", sandbox, "--shell", "--", "echo on; sleep 300") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"on\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
    assert not [each for each in _list(dev, sandbox) if "sleep 300" in str(each["command"])]


def test_whoever_has_seen_enough_may_close_the_pipe(dev: Dev, sandbox: str) -> None:
    with _begin(dev, "exec", sandbox, "--shell", "--", "while echo more; do :; done") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"more\n"
        running.stdout.close()
        assert running.wait(timeout=60) == 0


def test_a_command_that_is_left_running_is_listed_followed_told_and_ended(dev: Dev, sandbox: str) -> None:
    script = "trap 'echo caught; exit 9' USR1; echo on; while :; do sleep 0.01; done"
    command_id = dev.rock_nomad("exec", "-d", sandbox, "--shell", "--", script).stdout.strip()
    with _begin(dev, "logs", "-f", sandbox, "--command", command_id) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"on\n"
        assert dev.rock_nomad("logs", sandbox, "--command", command_id).stdout == "on\n"
        assert command_id in dev.rock_nomad("commands", sandbox).stdout
        assert dev.rock_nomad("kill", sandbox, command_id, "-s", "usr1").returncode == 0
        out, _ = follower.communicate(timeout=60)
        assert (out, follower.returncode) == (b"caught\n", 9)
    (listed,) = (each for each in _list(dev, sandbox) if each["command_id"] == command_id)
    assert (listed["has_ended"], listed["exit_code"]) == (True, 9)
    assert dev.rock_nomad("kill", sandbox, command_id).returncode == 0
    gone = dev.rock_nomad("logs", sandbox, "--command", command_id)
    assert (gone.returncode, "there is no command" in gone.stderr) == (2, True)


def test_what_makes_no_sense_says_so(dev: Dev, sandbox: str) -> None:
    both = dev.rock_nomad("exec", "-i", "-d", sandbox, "--", "cat")
    assert (both.returncode, "leave out --stdin or --detach" in both.stderr) == (2, True)
    unknown = dev.rock_nomad("kill", sandbox, "c", "-s", "NOPE")
    assert (unknown.returncode, "there is no signal NOPE" in unknown.stderr) == (2, True)


def _list(dev: Dev, sandbox: str) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(dev.rock_nomad("commands", sandbox, "-o", "json").stdout)
    return listed
