"""A cluster to test against: the embedded one, or real Nomad and Consul where this machine has them.

The real ones are started on loopback with throw-away directories: separate server and client agents, the client once
the keyring is usable (otherwise it may take half a minute to become ready).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

__all__ = ["KINDS", "Cluster", "missing_parts", "run_cluster"]

Kind = Literal["embedded", "real"]
KINDS: tuple[Kind, ...] = ("embedded", "real")

_START_TIMEOUT = 60.0  # seconds; a loaded machine
_STOP_TIMEOUT = 20.0
_LOOK_INTERVAL = 0.05
TOKEN = "test-token"


@dataclass(frozen=True)
class Reply:
    """What an agent answered."""

    status: int
    data: Any
    headers: dict[str, str]  # names in lower case


@dataclass(frozen=True)
class Cluster:
    """A running cluster.  Real agents run without ACLs, so that their token is empty."""

    kind: Kind
    nomad_url: str
    consul_url: str
    token: str
    process_id: int  # of the embedded agent, or of Nomad's client

    def nomad(self, method: str, path: str, body: object = None) -> Reply:
        """One call of Nomad's API."""
        return call(method, self.nomad_url + path, body, {"X-Nomad-Token": self.token})

    def consul(self, method: str, path: str, body: object = None) -> Reply:
        """One call of Consul's API."""
        return call(method, self.consul_url + path, body, {"X-Consul-Token": self.token})

    def wait_for(self, path: str, is_there: Callable[[Any], bool], *, timeout: float = 20.0) -> Any:  # noqa: ANN401
        """What Nomad answers at `path` once it is as wanted, by blocking queries."""
        deadline, index = time.monotonic() + timeout, 0
        while (left := deadline - time.monotonic()) > 0:
            reply = self.nomad("GET", f"{path}?index={index}&wait={int(left * 1000) + 1}ms")
            if reply.status == 200 and is_there(reply.data):
                return reply.data
            index = int(reply.headers.get("x-nomad-index", 0))
        raise AssertionError(f"{path} never became what was wanted; last: {json.dumps(reply.data)[:2000]}")


def call(method: str, url: str, body: object, headers: dict[str, str]) -> Reply:
    """One HTTP call; bytes go as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={k: v for k, v in headers.items() if v})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return _reply(response.status, response.read(), response.headers.items())
    except urllib.error.HTTPError as error:
        with error:
            return _reply(error.code, error.read(), error.headers.items())


def missing_parts(kind: Kind) -> str | None:
    """Why a kind cannot run here; None: it can."""
    if kind == "embedded":
        return None
    missing = [name for name in ("nomad", "consul") if _executable(name) is None]
    if missing:
        return f"no {' and '.join(missing)} on PATH"
    return None if os.geteuid() == 0 else "no root: Nomad's client needs it"


@contextlib.contextmanager
def run_cluster(kind: Kind, *arguments: str) -> Iterator[Cluster]:
    """Start a cluster, and leave nothing of it; `arguments` go to the embedded agent alone."""
    if (reason := missing_parts(kind)) is not None:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix=f"rock-{kind}-"))
    try:
        with _embedded(folder, *arguments) if kind == "embedded" else _real(folder) as cluster:
            yield cluster
    finally:
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _embedded(folder: Path, *arguments: str) -> Iterator[Cluster]:
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    command = [sys.executable, "-m", "rock_nomad.embedded", "--nomad-port", "0", "--consul-port", "0"]
    command += ["--token-file", str(token_file), "--data-dir", str(folder / "data"), "--exit-with-stdin", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdin is None or process.stdout is None:
        raise AssertionError("asked for pipes")
    try:
        place = json.loads(process.stdout.readline())
        yield Cluster("embedded", place["nomad"], place["consul"], TOKEN, process.pid)
    finally:
        process.stdin.close()
        process.stdout.close()
        _wait_or_kill(process)


@contextlib.contextmanager
def _real(folder: Path) -> Iterator[Cluster]:
    ports = dict(zip(_PORT_NAMES, _free_ports(len(_PORT_NAMES)), strict=True))
    configs = {"consul": _consul_config(folder, ports), "server": _server_config(folder, ports)}
    configs["client"] = _client_config(folder, ports)
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / f"{name}.json").write_text(json.dumps(config))
    nomad, consul = (f"http://127.0.0.1:{ports[name]}" for name in ("server_http", "consul_http"))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_agent("consul", "-config-file", folder, "consul"))
        stack.enter_context(_agent("nomad", "-config", folder, "server"))
        _wait_until(lambda: bool(call("GET", f"{nomad}/v1/operator/keyring/keys", None, {}).data))
        stack.callback(_kill_left_over, folder)
        client = stack.enter_context(_agent("nomad", "-config", folder, "client"))
        stack.callback(_kill_session, client.pid)
        cluster = Cluster("real", nomad, consul, "", client.pid)
        _wait_until(lambda: _has_ready_node(cluster))
        try:
            yield cluster
        finally:
            _stop_jobs(cluster)


def _has_ready_node(cluster: Cluster) -> bool:
    """Whether a node is ready and knows of Consul, which it may find later and jobs with services ask for."""
    ready = [node["ID"] for node in cluster.nomad("GET", "/v1/nodes").data if node["Status"] == "ready"]
    return any("consul.version" in cluster.nomad("GET", f"/v1/node/{one}").data["Attributes"] for one in ready)


_PORT_NAMES = (
    "consul_http", "consul_server", "consul_serf", "server_http", "server_rpc", "server_serf", "client_http",
    "client_rpc", "client_serf",
)  # fmt: skip


def _consul_config(folder: Path, ports: dict[str, int]) -> dict[str, object]:
    return {
        "data_dir": str(folder / "consul"), "server": True, "bootstrap_expect": 1, "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1", "disable_update_check": True,
        "ports": {
            "http": ports["consul_http"], "server": ports["consul_server"], "serf_lan": ports["consul_serf"],
            "serf_wan": -1, "dns": -1, "grpc": -1,
        },
    }  # fmt: skip


def _nomad_config(folder: Path, ports: dict[str, int], name: str) -> dict[str, object]:
    return {
        "data_dir": str(folder / name), "bind_addr": "127.0.0.1", "disable_update_check": True,
        "ports": {part: ports[f"{name}_{part}"] for part in ("http", "rpc", "serf")},
        "advertise": dict.fromkeys(("http", "rpc", "serf"), "127.0.0.1"),
        "consul": {"address": f"127.0.0.1:{ports['consul_http']}"},
    }  # fmt: skip


def _server_config(folder: Path, ports: dict[str, int]) -> dict[str, object]:
    server = {"enabled": True, "bootstrap_expect": 1, "event_buffer_size": 10000}
    return {**_nomad_config(folder, ports, "server"), "server": server}


def _client_config(folder: Path, ports: dict[str, int]) -> dict[str, object]:
    client = {
        "enabled": True, "servers": [f"127.0.0.1:{ports['server_rpc']}"], "network_interface": "lo",
        "cpu_total_compute": 1000 * (os.cpu_count() or 1), "gc_max_allocs": 500,
        # Off the cloud these probe link-local addresses.
        "options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean"},
    }  # fmt: skip
    # Nomad's own default takes an image away three minutes after its last container.
    docker = {"gc": {"image": False}, "volumes": {"enabled": False}, "allow_runtimes": ["runc", "nvidia", "runsc"]}
    plugins = {"raw_exec": {"config": {"enabled": True}}, "docker": {"config": docker}}
    return {**_nomad_config(folder, ports, "client"), "client": client, "plugin": plugins}


@contextlib.contextmanager
def _agent(program: str, option: str, folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    # Nomad refuses to start beside some variables of clouds; none is needed.
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    command = [str(_executable(program)), "agent", option, str(folder / f"{name}.json")]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        _wait_or_kill(process)


def _kill_session(session: int) -> None:
    """A client's log processes share its session and may outlive it."""
    for entry in _processes():
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(entry) == session and entry != session:
                os.kill(entry, signal.SIGKILL)


def _kill_left_over(folder: Path) -> None:
    """Tasks of a client that was killed live on, each in a session of its own; they name their directory."""
    for entry in _processes():
        with contextlib.suppress(OSError):
            said = Path(f"/proc/{entry}/cmdline").read_bytes() + Path(f"/proc/{entry}/environ").read_bytes()
            if f"{folder}/client/alloc".encode() in said:
                os.kill(entry, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _stop_jobs(cluster: Cluster) -> None:
    for job in cluster.nomad("GET", "/v1/jobs").data:
        cluster.nomad("DELETE", f"/v1/job/{job['ID']}?purge=true")
    _wait_until(lambda: all(
        one["ClientStatus"] in ("complete", "failed", "lost") for one in cluster.nomad("GET", "/v1/allocations").data
    ))  # fmt: skip


def _wait_until(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        with contextlib.suppress(OSError):
            if is_done():
                return
        if time.monotonic() > deadline:
            raise AssertionError("the cluster did not get there in time")
        time.sleep(_LOOK_INTERVAL)  # an agent that does not listen yet can only be tried again


def _executable(name: str) -> str | None:
    return os.environ.get(f"{name.upper()}_BIN") or shutil.which(name)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _unmount_below(folder: Path) -> None:
    """A client that was killed leaves its tasks' secrets mounted."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        target = line.split()[1]
        if target.startswith(f"{folder}/"):
            subprocess.run(["umount", target], check=False, capture_output=True)


def _reply(status: int, body: bytes, headers: Any) -> Reply:  # noqa: ANN401 - urllib's
    try:
        data = json.loads(body)
    except ValueError:
        data = body.decode(errors="replace")
    return Reply(status, data, {name.lower(): value for name, value in headers})
