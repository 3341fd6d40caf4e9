"""The commands that serve: `dev`, a whole cluster on this machine, `gateway`, for real servers; and their set-up."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shlex
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
import yaml

from rock._config import GatewayAddress, credentials_path
from rock._credentials import read_credentials, write_credentials
from rock._gateway import Gateway
from rock.wire.errors import BadRequestRockError
from rock_nomad.cli.local_clusters import LocalCluster, run_embedded, run_real
from rock_nomad.cli.options import request_files
from rock_nomad.cli.output import Progress, out, say
from rock_nomad.cli.ports import is_free, listener_of
from rock_nomad.cli.submission import submit_all
from rock_nomad.config import GatewayConfig, cache_folder, docker_socket, load_gateway_config
from rock_nomad.gem_setup import find_gem_python, set_up_gem
from rock_nomad.isolation import ISOLATIONS

__all__ = ["COMMANDS"]

_HOST = "127.0.0.1"
_KINDS = {
    "raw_exec": "processes of this machine, without isolation",
    "exec": "processes of this machine in a root of their own",
    "mock": "made up",
}
"""What sandboxes are, for people, where they are no containers."""

_Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")]
_Keys = Annotated[Path | None, typer.Option("--keys", help="YAML file of API keys.")]
_Secret = Annotated[Path | None, typer.Option("--secret-file", help="File with the cluster's secret.")]


async def dev(
    *,
    port: _Port = 8080,
    simulate_gpus: Annotated[
        str | None, typer.Option(metavar="MODEL:COUNT[:MIB],...", help='Such as "NVIDIA H100 80GB HBM3:2".')
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="On this machine's nomad and consul, started for it.")] = False,
    nodes: Annotated[int, typer.Option(min=1, max=8, help="How many, with --real.")] = 1,
    isolation: Annotated[
        str, typer.Option(help="For sandboxes that name none; runc, gvisor and kata need a Docker engine.")
    ] = "raw_exec",
    env_file: Annotated[Path | None, typer.Option(help="Also write address and key as export lines.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Let callers on this machine in without a key.")] = False,
    submit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="As `submit`, then stop: a request file, a program, a folder.")
    ] = None,
) -> int:
    """Start a one-machine cluster and its gateway; Ctrl-C stops both and every sandbox."""
    # Here, because it takes a third of a second, which `ls` need not wait for.
    from rock_nomad.app import serve_gateway, watch_signals, write_log

    _check_port(port)
    if nodes > 1 and not real:
        raise BadRequestRockError("the embedded cluster has one node; add --real to --nodes")
    requests = request_files(submit) if submit else []
    bundle = await _bundle_for(isolation)
    with tempfile.TemporaryDirectory(prefix="rock-nomad-") as made:
        folder = Path(made)
        async with (
            (
                run_real(folder, nodes, simulate_gpus, bundle) if real else run_embedded(folder, simulate_gpus, bundle)
            ) as cluster,
            serve_gateway(_dev_config(folder, cluster, port=port, open_=open_, isolation=isolation)) as url,
        ):
            key = (folder / "key").read_text()
            if requests:
                return await submit_all(Gateway(GatewayAddress(url=url, api_key=key)), requests, keep=False)
            write_log()
            stopped = watch_signals()
            with _announced(url, key, env_file, cluster.variables):
                say(f"rock-nomad {url} on {cluster.title}")
                say(f"SDK and CLI find it through {credentials_path()}")
                say(f"sandboxes are {_KINDS.get(isolation, 'containers')} ({isolation}); Ctrl-C stops everything")
                await stopped.wait()
                say("stopping every sandbox")
    return 0


async def setup_gem(
    *, once: Annotated[bool, typer.Option("--once", help="Do not try again what failed before.")] = False
) -> None:
    """Set up what hosts GEM environments on this machine, unless it is there, and print its Python."""
    python = find_gem_python(cache_folder())
    if python is None or not python.exists():
        with Progress() as progress:
            progress.show("setting up GEM environments (about a minute, once)")
            python = await asyncio.to_thread(set_up_gem, cache_folder(), progress.update, try_again=not once)
    out.print(python, markup=False)


async def gateway(
    *,
    config: Annotated[Path | None, typer.Option(help="Everything below, and more, as a YAML file.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
    nomad: Annotated[str | None, typer.Option(metavar="URL", help="A Nomad agent.")] = None,
    consul: Annotated[str | None, typer.Option(metavar="URL", help="A Consul agent.")] = None,
    keys: _Keys = None,
    secret_file: _Secret = None,
    role: Annotated[str | None, typer.Option(help="all, or write or read: one of the two paths alone.")] = None,
) -> None:
    """Serve sandboxes on a Nomad and a Consul; any number of replicas may run side by side."""
    from rock_nomad.app import run_gateway  # likewise

    files = {"keys_file": _absolute(keys), "secret_file": _absolute(secret_file)}
    options = {"host": host, "port": port, "role": role, **files}
    agents = {"nomad": {"url": nomad} if nomad else None, "consul": {"url": consul} if consul else None}
    settings = {name: value for name, value in {**options, **agents}.items() if value is not None}
    told = load_gateway_config(config, settings)
    await run_gateway(told, on_listening=lambda url: print(f"rock-nomad gateway {url}", flush=True))


def _absolute(path: Path | None) -> str | None:
    """A path of the command line's, which is relative to where it was typed."""
    return str(path.absolute()) if path else None


def _check_port(port: int) -> None:
    if not is_free(_HOST, port):
        owner = listener_of(port) or "a process that cannot be seen from here"
        raise BadRequestRockError(f"port {port} is taken by {owner}; stop it, or choose another with --port")


async def _bundle_for(isolation: str) -> Path | None:
    """The bundle that sandboxes of an isolation start from, made if need be; None if they need none.

    Raises BadRequestRockError: there is no such isolation, or no Docker engine for it.
    """
    kind = ISOLATIONS.get(isolation)
    if kind is None:
        raise BadRequestRockError(f"isolation is {isolation!r}; it must be one of {', '.join(ISOLATIONS)}")
    if not kind.brings_rocklet:
        return None
    if kind.driver == "docker" and not _answers(docker_socket()):
        raise BadRequestRockError(f"{isolation} needs a Docker engine, and none answers at {docker_socket()}")
    from rock_nomad.bundle.build import ensure_cached_bundle  # likewise

    with Progress() as progress:
        progress.show("making the bundle that containers start from (some ten seconds, once)")
        return await asyncio.to_thread(ensure_cached_bundle, cache_folder(), progress.update)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _dev_config(folder: Path, cluster: LocalCluster, *, port: int, open_: bool, isolation: str) -> GatewayConfig:
    key = secrets.token_urlsafe(24)
    for name, text in (("key", key), ("secret", secrets.token_urlsafe(48))):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    keys = {"keys": [{"name": "dev", "sha256": hashlib.sha256(key.encode()).hexdigest(), "role": "operator"}]}
    (folder / "keys.yaml").write_text(yaml.safe_dump(keys))
    gem_python = find_gem_python(cache_folder())
    config = {
        "host": _HOST,
        "port": port,
        "open": open_,
        "nomad": cluster.nomad,
        "consul": cluster.consul,
        "keys_file": "keys.yaml",
        "secret_file": "secret",
        "profile": {
            "name": "dev",
            "default_isolation": isolation,
            "isolations": list(dict.fromkeys([isolation, "raw_exec", "mock"])),
            "env": {"ROCKLET_GEM_PYTHON": str(gem_python)} if gem_python else {},
        },
    }
    (folder / "gateway.yaml").write_text(yaml.safe_dump(config))
    return load_gateway_config(folder / "gateway.yaml")


@contextlib.contextmanager
def _announced(url: str, key: str, env_file: Path | None, variables: Mapping[str, str]) -> Iterator[None]:
    """Let SDK and CLI on this machine find the cluster while it runs."""
    path = credentials_path()
    write_credentials(path, url, key)
    if env_file is not None:
        _write_env_file(env_file, {"ROCK_BASE_URL": url, "ROCK_API_KEY": key, **variables})
    try:
        yield
    finally:
        found = read_credentials(path)
        if found is not None and found.api_key == key:  # another dev may have taken over
            path.unlink(missing_ok=True)


def _write_env_file(path: Path, variables: Mapping[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


COMMANDS = (dev, gateway, setup_gem)
