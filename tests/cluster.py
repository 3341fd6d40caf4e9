"""A cluster to test against: the embedded one, or real Nomad and Consul where this machine has them.

Either is a process that says where it is on its stdout, and ends with its stdin.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from rock.wire.errors import BadRequestRockError
from rock_nomad.config import ConsulConfig, NomadConfig
from rock_nomad.loopback.api import Api, Reply
from rock_nomad.loopback.cluster import Description
from rock_nomad.loopback.executables import find_executables
from rock_nomad.loopback.settings import NodeSettings, Settings
from tests.needs import Kind

__all__ = ["Agent", "Cluster", "Node", "missing_parts", "run_cluster", "run_real_cluster"]

_STOP_TIMEOUT = 60.0  # seconds; a loaded machine
_TOKEN = "test-token"


@dataclass(frozen=True)
class Agent:
    """A real agent, which a test may stop and start; whoever uses a shared cluster starts it again."""

    name: str
    _tell: Callable[[str], Description]

    def find_process_id(self) -> int | None:
        """Its process; None while it does not run."""
        return self._tell("").process_ids.get(self.name)

    def kill(self) -> None:
        """End it as a power cut does; a node's tasks live on."""
        self._tell(f"kill {self.name}")

    def stop(self) -> None:
        """End it as its operator does."""
        self._tell(f"stop {self.name}")

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self._tell(f"start {self.name}")


@dataclass(frozen=True)
class Node(Agent):
    """A node's Nomad client."""

    node_id: str
    url: str
    consul: Agent
    """The node's own Consul agent."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.  Its tokens are management's; those that end in `gateway` may do what a gateway must."""

    kind: Kind
    nomad_url: str
    consul_url: str
    nomad_token: str
    consul_token: str
    gateway_nomad_token: str
    gateway_consul_token: str
    process_id: int
    """Of the embedded agent, or of the owner of the real ones."""
    ca_file: str | None = None
    nodes: tuple[Node, ...] = ()
    """The real ones."""
    servers: Mapping[str, Agent] = field(default_factory=dict)
    folder: Path = Path()
    """Where its data is."""

    @property
    def server(self) -> Agent:
        """Nomad's real server."""
        return self.servers["server"]

    @property
    def consul_server(self) -> Agent:
        """Consul's real server, at `consul_url`."""
        return self.servers["consul"]

    def nomad(self, method: str, path: str, body: object = None) -> Reply:
        """One call of Nomad's API."""
        return Api(self.nomad_url, "X-Nomad-Token", self.nomad_token, self.ca_file).call(method, path, body)

    def consul(self, method: str, path: str, body: object = None) -> Reply:
        """One call of Consul's API."""
        return Api(self.consul_url, "X-Consul-Token", self.consul_token, self.ca_file).call(method, path, body)

    def nomad_config(self) -> NomadConfig:
        """How a gateway reaches Nomad."""
        return NomadConfig(url=self.nomad_url, token=_secret(self.gateway_nomad_token), ca_file=_path(self.ca_file))

    def consul_config(self) -> ConsulConfig:
        """How a gateway reaches Consul."""
        return ConsulConfig(url=self.consul_url, token=_secret(self.gateway_consul_token), ca_file=_path(self.ca_file))

    def wait_for(self, path: str, is_there: Callable[[Any], bool], *, timeout: float = 60.0) -> Any:  # noqa: ANN401
        """What Nomad answers at `path` once it is as wanted, by blocking queries."""
        deadline, index = time.monotonic() + timeout, 0
        while (left := deadline - time.monotonic()) > 0:
            reply = self.nomad("GET", f"{path}?index={index}&wait={int(left * 1000) + 1}ms")
            if reply.status == 200 and is_there(reply.data):
                return reply.data
            index = int(reply.headers.get("x-nomad-index", 0))
        raise AssertionError(f"{path} never became what was wanted; last: {json.dumps(reply.data)[:2000]}")


def _secret(token: str) -> SecretStr | None:
    return SecretStr(token) if token else None


def _path(file: str | None) -> Path | None:
    return Path(file) if file else None


def missing_parts(kind: Kind) -> str | None:
    """Why a kind cannot run here; None: it can."""
    if kind == "embedded":
        return None
    try:
        find_executables()
    except BadRequestRockError as error:
        return str(error)
    return None


@contextlib.contextmanager
def run_cluster(kind: Kind, *arguments: str, nodes: int = 1, bundle: Path | None = None) -> Iterator[Cluster]:
    """Start a cluster, and leave nothing of it; `arguments` go to the embedded agent alone.

    Every node has the bundle, if one is given, as its host volume `rocklet`.
    """
    if kind == "embedded":
        volumes = [f"--host-volume=rocklet={bundle}"] if bundle else []
        with _run_embedded(*arguments, *volumes) as cluster:
            yield cluster
    else:
        volume = {"rocklet": {"path": str(bundle), "read_only": True}}
        node = NodeSettings(client={"host_volume": volume} if bundle else {})
        with run_real_cluster(Settings(nodes=(node,) * nodes)) as cluster:
            yield cluster


@contextlib.contextmanager
def run_real_cluster(settings: Settings) -> Iterator[Cluster]:
    """Start a cluster of real servers, and leave nothing of it; skips the test where they are missing."""
    if (reason := missing_parts("real")) is not None:
        pytest.skip(reason)
    with _child("rock_nomad.loopback", msgspec.json.encode(settings).decode()) as (child, said):

        def tell(command: str) -> Description:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(f"{command}\n")
            child.stdin.flush()
            return _describe(child.stdout.readline())

        yield _real_cluster(_describe(said), tell, child.pid)


def _describe(line: str) -> Description:
    return msgspec.json.decode(line, type=Description)


def _real_cluster(description: Description, tell: Callable[[str], Description], process_id: int) -> Cluster:
    return Cluster(
        kind="real",
        nomad_url=description.nomad,
        consul_url=description.consul,
        nomad_token=description.nomad_token,
        consul_token=description.consul_token,
        gateway_nomad_token=description.gateway_nomad_token,
        gateway_consul_token=description.gateway_consul_token,
        process_id=process_id,
        ca_file=description.ca_file,
        nodes=tuple(
            Node(each.name, tell, each.node_id, each.url, Agent(f"{each.name}-consul", tell))
            for each in description.nodes
        ),
        servers={name: Agent(name, tell) for name in ("server", "consul")},
        folder=Path(description.folder),
    )


@contextlib.contextmanager
def _run_embedded(*arguments: str) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="rock-embedded-") as folder:
        token_file = Path(folder) / "token"
        token_file.write_text(_TOKEN)
        told = ["--nomad-port", "0", "--consul-port", "0", "--exit-with-stdin"]
        told += ["--token-file", str(token_file), "--data-dir", str(Path(folder) / "data"), *arguments]
        with _child("rock_nomad.embedded", *told) as (child, said):
            place = json.loads(said)
            tokens = (_TOKEN,) * 4
            urls = place["nomad"], place["consul"]
            yield Cluster("embedded", *urls, *tokens, process_id=child.pid, folder=Path(folder))


@contextlib.contextmanager
def _child(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A module that runs until its stdin ends, and the first line that it says."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us; it ends with its stdin
    )
    if child.stdin is None or child.stdout is None:
        raise AssertionError("asked for pipes")
    try:
        said = child.stdout.readline()
        assert said, f"{module} has ended with exit code {child.wait()}"
        yield child, said
    finally:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
        try:
            child.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
