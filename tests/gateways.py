"""Gateways for tests: in this process, or as one of their own that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import yaml

from rock.wire.codec import encode, encode_query
from rock.wire.errors import ErrorBody, from_body
from rock.wire.messages import CreateSandboxRequest, ExecuteRequest, SandboxStatus, State
from rock.wire.operations import CREATE_SANDBOX, EXECUTE, LIST_SANDBOXES, STOP_SANDBOX, Operation
from rock.wire.spec import SandboxSpec
from rock_nomad.app import serve_gateway
from rock_nomad.config import AgentConfig, load_gateway_config
from tests import sandbox_server
from tests.cluster import Cluster

__all__ = [
    "KEYS",
    "Gateway",
    "serve_in",
    "small",
    "start_gateway",
    "start_gateway_process",
    "stop_all",
    "wait_until_listed",
    "write_config",
]

KEYS: Mapping[str, tuple[str, str]] = {
    "key-a": ("team-a", "user"),
    "key-b": ("team-b", "user"),
    "key-op": ("ops", "operator"),
}
"""Keys, and the tenant and role of each."""

SECRET = "a secret of tests, long enough to be one"
_START_TIMEOUT = 120.0  # seconds; a loaded machine

_Req = TypeVar("_Req", bound=msgspec.Struct)
_Res = TypeVar("_Res", bound=msgspec.Struct)
_A = TypeVar("_A", bound=AgentConfig)


@dataclass
class Gateway:
    """A running gateway, and a client of it."""

    url: str
    key: str
    session: aiohttp.ClientSession = field(repr=False)
    cpus: int = os.cpu_count() or 1
    """How many the cluster's one node has."""
    process: Process | None = None

    async def call(
        self,
        operation: Operation[_Req, _Res],
        request: _Req | None = None,
        *,
        sandbox_id: str = "",
        key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> _Res:
        """An operation's result; its typed error is raised."""
        wanted = request if request is not None else operation.request()
        is_json = operation.carries == "json"
        shown = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        async with self.session.request(
            operation.method,
            self.url + operation.gateway_path.replace("{sandbox_id}", sandbox_id),
            params=None if is_json else encode_query(wanted),
            data=encode(wanted) if is_json else None,
            headers={**shown, **(headers or {})},
        ) as reply:
            body = await reply.read()
        if reply.status != 200:
            raise from_body(msgspec.json.decode(body, type=ErrorBody), reply.status)
        return msgspec.json.decode(body, type=operation.result)

    async def create(
        self,
        sandbox_id: str | None = None,
        *,
        key: str = "",
        hold: float = 20.0,
        **fields: Any,  # noqa: ANN401 - a spec's fields
    ) -> SandboxStatus:
        """A small sandbox, ready unless `hold` is short."""
        request = CreateSandboxRequest(spec=small(sandbox_id, **fields), hold=hold)
        return await self.call(CREATE_SANDBOX, request, key=key)


async def serve_in(gateway: Gateway, sandbox_id: str, *options: str) -> int:
    """The port of a server that is started in a sandbox."""
    command = [sys.executable, sandbox_server.__file__, "127.0.0.1", "--daemon", *options]
    ran = await gateway.call(EXECUTE, ExecuteRequest(command=command), sandbox_id=sandbox_id)
    return int(ran.stdout)


def small(sandbox_id: str | None = None, **fields: Any) -> SandboxSpec:  # noqa: ANN401 - a spec's fields
    """A spec of which many fit on any machine."""
    return SandboxSpec(sandbox_id=sandbox_id, **{"cpus": 0.1, "memory_bytes": 64 * 2**20, **fields})


async def stop_all(gateway: Gateway) -> None:
    """End every sandbox of a gateway's cluster."""
    listed = await gateway.call(LIST_SANDBOXES, key="key-op")
    async with asyncio.TaskGroup() as stops:
        for each in listed.sandboxes:
            if each.state is not State.STOPPED:
                stops.create_task(gateway.call(STOP_SANDBOX, sandbox_id=each.sandbox_id, key="key-op"))


async def wait_until_listed(cluster: Cluster, sandbox_id: str) -> None:
    """Wait until Nomad, too, says that a sandbox runs: its rocklet answers earlier than that."""
    path = f"/v1/job/sbx-{sandbox_id}/allocations"
    await asyncio.to_thread(cluster.wait_for, path, lambda rows: rows[0]["ClientStatus"] == "running")


def write_config(folder: Path, cluster: Cluster, **profile: Any) -> Path:  # noqa: ANN401 - YAML's values
    """A gateway's configuration in a folder; `profile` is laid over what suits tests."""
    _write_secret(folder / "secret", SECRET)
    keys = [
        {"name": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": tenant, "role": role}
        for key, (tenant, role) in KEYS.items()
    ]
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": keys}))
    config = {
        "port": 0,
        "nomad": _agent(folder / "nomad-token", cluster.nomad_url, cluster.gateway_nomad_token, cluster.ca_file),
        "consul": _agent(folder / "consul-token", cluster.consul_url, cluster.gateway_consul_token, cluster.ca_file),
        "keys_file": "keys.yaml",
        "secret_file": "secret",
        "profile": {
            "name": f"tests-{secrets.token_hex(4)}",  # so that a test sees its own sandboxes only
            "default_isolation": "raw_exec",
            "isolations": ["raw_exec", "mock", "runc"],
            "default_disk_bytes": 20 * 2**20,
            **profile,
        },
    }
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _agent(token_file: Path, url: str, token: str, ca_file: str | None) -> dict[str, str]:
    _write_secret(token_file, token)
    shown = {"token_file": token_file.name if token else None, "ca_file": ca_file}
    return {"url": url, **{name: value for name, value in shown.items() if value}}


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


@contextlib.asynccontextmanager
async def start_gateway(
    cluster: Cluster,
    *,
    keep: bool = False,
    settings: Mapping[str, Any] | None = None,
    **profile: Any,  # noqa: ANN401 - YAML's values
) -> AsyncIterator[Gateway]:
    """A gateway in this process; its sandboxes end with the block, unless it is to `keep` them.

    `settings` are laid over its configuration, and `profile` over the profile in it.
    """
    with tempfile.TemporaryDirectory(prefix="rock-gateway-") as folder:
        config = load_gateway_config(write_config(Path(folder), cluster, **profile), settings)
        async with serve_gateway(config) as url, _client() as session:
            gateway = Gateway(url, "key-a", session)
            try:
                yield gateway
            finally:
                if not keep:
                    await stop_all(gateway)


@contextlib.asynccontextmanager
async def start_gateway_process(cluster: Cluster, **profile: Any) -> AsyncIterator[Gateway]:  # noqa: ANN401
    """A gateway in a process of its own, to be killed if need be."""
    with tempfile.TemporaryDirectory(prefix="rock-gateway-") as folder:
        path = write_config(Path(folder), cluster, **profile)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rock_nomad", "gateway", "--config", str(path)), stdin=DEVNULL, stdout=PIPE
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT), _client() as session:
                assert process.stdout is not None
                url = (await process.stdout.readline()).decode().split()[-1]
            async with _client() as session:
                yield Gateway(url, "key-a", session, process=process)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
