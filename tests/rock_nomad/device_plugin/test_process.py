from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import grpc
import pytest

from tests.rock_nomad.device_plugin.agent import COOKIE, Agent, start_plugin

pytestmark = pytest.mark.slow

_GOES = 10.0  # seconds within which a plugin ends


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with start_plugin(tmp_path) as agent:
        yield agent


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith("nomad-device-rock-"))


def test_the_handshake_names_a_socket_that_nobody_else_can_reach(agent: Agent, tmp_path: Path) -> None:
    assert agent.handshake == f"1|2|unix|{agent.socket}|grpc|\n"
    assert agent.socket.is_socket()
    assert agent.socket.parent.stat().st_mode & 0o777 == 0o700
    assert agent.info().name


def test_a_person_is_told_whom_it_is_for() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in COOKIE}
    program = "from rock_nomad.device_plugin.process import main; main()"
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "rock-nomad device-plugin install DIR" in ran.stderr


def test_told_to_it_ends_in_order_and_leaves_nothing(agent: Agent, tmp_path: Path) -> None:
    agent.configure(simulate="A:1")
    stream = agent.fingerprint()
    next(stream)
    agent.shut_down()
    with contextlib.suppress(grpc.RpcError):  # it ends in whichever way: nobody reads on
        list(stream)
    assert agent.process.wait(_GOES) == 0
    assert _folders(tmp_path) == []


def test_sigterm_breaks_off_the_stream_and_leaves_nothing(agent: Agent, tmp_path: Path) -> None:
    """In order, it would be Nomad's last word about the node's devices."""
    agent.configure(simulate="A:1")
    stream = agent.fingerprint()
    next(stream)
    agent.process.send_signal(signal.SIGTERM)
    with pytest.raises(grpc.RpcError):
        next(stream)
    assert agent.process.wait(_GOES) == 128 + signal.SIGTERM
    assert _folders(tmp_path) == []


def test_an_interrupt_is_the_agents_affair(agent: Agent) -> None:
    agent.process.send_signal(signal.SIGINT)
    assert agent.info().name


def test_it_does_not_outlive_an_agent_that_is_killed(tmp_path: Path) -> None:
    program = "from rock_nomad.device_plugin.process import main; main()"
    parent = (
        "import subprocess, sys\n"
        f"plugin = subprocess.Popen([sys.executable, '-c', {program!r}])\n"
        "sys.stderr.write(f'{plugin.pid}\\n'); sys.stderr.flush(); sys.stdin.read()\n"
    )
    environment = {**os.environ, **COOKIE, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, env=environment, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stderr is not None
        assert agent.stderr.readline().strip().isdecimal()
        assert agent.stdout.readline().startswith("1|2|unix|")
        agent.kill()
        # Both ends of the pipes are the plugin's alone now: they close when it ends.
        assert agent.stdout.read() == ""
    assert _folders(tmp_path) == []


def test_what_a_killed_plugin_left_is_swept_and_a_running_ones_is_not(agent: Agent, tmp_path: Path) -> None:
    with start_plugin(tmp_path) as killed:
        killed.process.kill()
        killed.process.wait()
        assert len(_folders(tmp_path)) == 2
    with start_plugin(tmp_path) as third:
        assert _folders(tmp_path) == sorted(each.socket.parent.name for each in (agent, third))
    assert agent.info().name
