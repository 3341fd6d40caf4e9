from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rock_nomad.embedded.drivers import guard
from rock_nomad.embedded.drivers.guard import LogFile

pytestmark = pytest.mark.slow

GUARD = Path(guard.__file__)


@pytest.fixture
def keeper() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-I", "-S", str(GUARD)]
        process = subprocess.Popen(command, stdin=theirs.fileno(), env={}, start_new_session=True)
    with ours:
        yield ours
    assert process.wait(10) == 0


def order(keeper: socket.socket, folder: Path, script: str) -> socket.socket:
    """Have a guard run a script; what it says can be read from the socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(keeper, [b"+"], [theirs.fileno()])
    said = {
        "argv": ["/bin/sh", "-c", script], "env": {"PATH": os.defpath}, "cwd": str(folder), "stdout": f"{folder}/out",
        "stderr": f"{folder}/err", "file_bytes": 100, "files": 2, "cgroups": [],
    }  # fmt: skip
    ours.sendall(json.dumps(said).encode() + b"\n")
    return ours


def test_a_guard_says_what_became_of_its_task(keeper: socket.socket, tmp_path: Path) -> None:
    with order(keeper, tmp_path, "echo out; echo err >&2; exit 5") as channel, channel.makefile() as said:
        assert json.loads(said.readline())["started"] > 0
        assert json.loads(said.readline()) == {"exited": {"code": 5, "signal": 0, "oom": False}}
        assert said.readline() == ""
    assert (tmp_path / "out.0").read_text() == "out\n"
    assert (tmp_path / "err.0").read_text() == "err\n"


def test_a_guard_that_is_left_alone_ends_all_of_its_task(keeper: socket.socket, tmp_path: Path) -> None:
    script = "(setsid sh -c 'echo $$ > daemon; exec sleep 600' &); echo $$ > leader; exec sleep 600"
    channel = order(keeper, tmp_path, script)
    deadline = time.monotonic() + 60
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("daemon", "leader")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pids = [int((tmp_path / name).read_text()) for name in ("daemon", "leader")]
    channel.close()
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_fork_bomb_does_not_outrun_its_end(keeper: socket.socket, tmp_path: Path) -> None:
    bomb = "bomb() { while :; do (sleep 0.05; :) & sleep 0.001; done; }"
    script = f"{bomb}; bomb & bomb & sleep 0.3; exit 0"
    with order(keeper, tmp_path, script) as channel, channel.makefile() as said:
        leader = json.loads(said.readline())["started"]
        channel.settimeout(20)
        assert json.loads(said.readline())["exited"]["code"] == 0
    left = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _cwd(pid) == str(tmp_path)]
    assert left == []
    assert leader > 0


def test_a_guard_without_an_order_just_goes(keeper: socket.socket) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(keeper, [b"+"], [theirs.fileno()])
    ours.shutdown(socket.SHUT_WR)
    with ours:
        assert ours.recv(1) == b""


def test_a_log_keeps_its_newest_files(tmp_path: Path) -> None:
    log = LogFile(f"{tmp_path}/log", file_bytes=10, files=2)
    log.write(b"0123456789" * 3 + b"end")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"log.2": b"0123456789", "log.3": b"end"}


def test_the_guard_stands_alone() -> None:
    """It starts without site-packages, so it may import nothing but the standard library."""
    imported = [line.split()[1] for line in GUARD.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert all(importlib.util.find_spec(name) and name.split(".")[0] in sys.stdlib_module_names for name in imported)


def _cwd(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""
