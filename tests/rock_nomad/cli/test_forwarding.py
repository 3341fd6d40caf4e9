from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rock.wire.errors import InvalidRequest
from rock_nomad.cli.forwarding import parse_ports
from tests import sandbox_server
from tests.clis import ROOT, SMALL, Dev


@pytest.mark.parametrize(
    ("text", "ports"), [("8080:80", (8080, 80)), ("8000", (8000, 8000)), (":8000", (0, 8000)), ("0:1", (0, 1))]
)
def test_ports_are_local_and_remote(text: str, ports: tuple[int, int]) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("text", ["", ":", "a:1", "1:", "1:0", "65536:1", "1:65536", "1:2:3", "-1:2", "１:2"])
def test_what_are_no_ports_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequest, match="8080:8000"):
        parse_ports(text)


@contextmanager
def _forwarding(dev: Dev, sandbox: str, ports: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rock_nomad", "port-forward", sandbox, ports],
        cwd=ROOT,
        env={**dev.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.match(r"127\.0\.0\.1:(\d+) leads to", process.stdout.readline())
        assert found
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 130


@pytest.mark.slow
def test_bytes_make_their_round_trip_through_a_local_port(dev: Dev) -> None:
    dev.rock_nomad("submit", *SMALL, "--id", "forwarded")
    server = [sys.executable, sandbox_server.__file__, "127.0.0.1", "--daemon", "--raw"]
    remote = dev.rock_nomad("exec", "forwarded", "--", *server).stdout.strip()
    data = os.urandom(2**20)
    with _forwarding(dev, "forwarded", f":{remote}") as port:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: connection.recv(2**16), b""))
            assert received == hashlib.sha256(data).hexdigest().encode()
    dev.rock_nomad("stop", "forwarded")


@pytest.mark.slow
def test_a_sandbox_that_is_not_there_is_named_at_once(dev: Dev) -> None:
    ran = dev.rock_nomad("port-forward", "nobody", "8080:8000")
    assert (ran.returncode, "there is no sandbox nobody" in ran.stderr) == (2, True)
