"""The clusters that `dev` runs, each a child that says where it is, and ends when we do, however that is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from rock.wire.errors import ClusterUnavailable
from rock_nomad.cli.device_plugin import install_launcher
from rock_nomad.cli.output import Progress
from rock_nomad.loopback.executables import find_executables
from rock_nomad.loopback.settings import NodeSettings, Settings

__all__ = ["LocalCluster", "run_embedded", "run_real"]

_START_TIMEOUT = 120.0  # seconds until it is ready; real agents give up by themselves before that
_STOP_TIMEOUT = 60.0  # seconds for it to end every sandbox


@dataclass(frozen=True)
class LocalCluster:
    """A cluster of this machine's that runs."""

    title: str
    """What it is, for people."""
    nomad: dict[str, str]
    """How the gateway reaches it, as its configuration says it."""
    consul: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    """By which `nomad` and `consul` reach it, with every right."""


@contextlib.asynccontextmanager
async def run_embedded(
    folder: Path, simulate_gpus: str | None, bundle: Path | None = None
) -> AsyncIterator[LocalCluster]:
    """The embedded cluster; what it needs is put into a folder of ours, a bundle is its host volume.

    Raises ClusterUnavailable: it does not start.
    """
    token_file = _write_secret(folder / "token", secrets.token_urlsafe(32))
    arguments = ["--nomad-port", "0", "--consul-port", "0", "--exit-with-stdin"]
    arguments += ["--token-file", token_file, "--data-dir", str(folder / "cluster")]
    if simulate_gpus:
        arguments += ["--simulate-gpus", simulate_gpus]
    if bundle:
        arguments += ["--host-volume", f"rocklet={bundle}"]
    async with _child("rock_nomad.embedded", *arguments) as place:
        yield LocalCluster(
            title=f"the embedded cluster, node {place['node']}",
            nomad={"url": place["nomad"], "token_file": token_file},
            consul={"url": place["consul"], "token_file": token_file},
        )


@contextlib.asynccontextmanager
async def run_real(
    folder: Path, nodes: int, simulate_gpus: str | None, bundle: Path | None = None
) -> AsyncIterator[LocalCluster]:
    """Real servers, by the executables of this machine; what the gateway needs is put into a folder of ours.

    Raises BadRequestRockError: this machine cannot run them.  ClusterUnavailable: they do not start.
    """
    executables = await asyncio.to_thread(find_executables)
    versions = ", ".join(f"{name} {executable.version}" for name, executable in executables.items())
    volumes = {"host_volume": {"rocklet": {"path": str(bundle), "read_only": True}}} if bundle else {}
    settings = Settings(nodes=(NodeSettings(client=volumes),) * nodes)
    if simulate_gpus:
        settings = _with_gpus(settings, folder, simulate_gpus)
    async with contextlib.AsyncExitStack() as stack:
        with Progress() as progress:
            progress.show(f"starting {versions} (a few seconds)")
            child = _child("rock_nomad.loopback", msgspec.json.encode(settings).decode())
            place = await stack.enter_async_context(child)
        tokens = {name: place[f"gateway_{name}_token"] for name in executables}
        files = {name: _write_secret(folder / f"{name}-token", token) for name, token in tokens.items()}
        names = ", ".join(node["name"] for node in place["nodes"])
        yield LocalCluster(
            title=f"{versions}, {'nodes' if nodes > 1 else 'node'} {names}",
            nomad={"url": place["nomad"], "token_file": files["nomad"]},
            consul={"url": place["consul"], "token_file": files["consul"]},
            variables={
                "NOMAD_ADDR": place["nomad"],
                "NOMAD_TOKEN": place["nomad_token"],
                "CONSUL_HTTP_ADDR": place["consul"],
                "CONSUL_HTTP_TOKEN": place["consul_token"],
            },
        )


def _with_gpus(settings: Settings, folder: Path, simulate_gpus: str) -> Settings:
    """The same cluster, with a device plugin on each node that makes GPUs up."""
    launcher = install_launcher(folder / "plugins")
    told = {"simulate": simulate_gpus, "sick_file": str(folder / "sick.json")}
    nodes = tuple(msgspec.structs.replace(node, plugins={launcher.name: told}) for node in settings.nodes)
    return msgspec.structs.replace(settings, nodes=nodes, plugin_dir=str(launcher.parent))


def _write_secret(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


@contextlib.asynccontextmanager
async def _child(module: str, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """A module that runs until its stdin ends, and what it says of itself in a line of JSON once it is ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us; we tell it when to end
    )
    assert process.stdin is not None
    assert process.stdout is not None
    line = b""
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_TIMEOUT)
        if not line:
            raise ClusterUnavailable(f"the cluster did not start: exit code {await process.wait()}")
        yield json.loads(line)
    finally:
        process.stdin.close()
        if not line and process.returncode is None:
            process.terminate()  # it looks at its stdin only once it is ready
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()
