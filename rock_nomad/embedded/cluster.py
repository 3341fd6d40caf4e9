"""The composition: state, scheduler, client, catalog and both APIs, from start to a clean end."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from rock_nomad.device_plugin.simulation import SimulatedHardware, parse_models
from rock_nomad.embedded.catalog import Catalog
from rock_nomad.embedded.checks import CheckPoller
from rock_nomad.embedded.client import Client
from rock_nomad.embedded.consul_api import ConsulApi
from rock_nomad.embedded.devices import device_rows
from rock_nomad.embedded.drivers.docker import DockerDriver
from rock_nomad.embedded.drivers.driver import Driver
from rock_nomad.embedded.drivers.mock import MockDriver
from rock_nomad.embedded.drivers.raw_exec import RawExecDriver
from rock_nomad.embedded.hardware import follow_hardware
from rock_nomad.embedded.http import serve
from rock_nomad.embedded.node import describe_node
from rock_nomad.embedded.nomad_api import NomadApi
from rock_nomad.embedded.scheduler import Scheduler
from rock_nomad.embedded.state import State

# As the real agents: what waits for too much at once fails here too.
NOMAD_CONNECTIONS = 100
CONSUL_CONNECTIONS = 200


@dataclass(frozen=True)
class Settings:
    """How one agent is run."""

    nomad_port: int  # 0: any free one
    consul_port: int
    token: str
    data_dir: Path
    simulated_gpus: str = ""  # MODEL:COUNT[:MIB],...
    docker_host: str = ""  # unix://PATH of an engine; "": no docker driver
    host_volumes: Mapping[str, Path] = field(default_factory=dict)  # directories that jobs may mount, to read
    gpu_state_file: Path | None = None  # makes them sick, as the device plugin's state_file


@dataclass(frozen=True)
class Addresses:
    """Where a running agent answers."""

    nomad: str
    consul: str
    node: str


@contextlib.asynccontextmanager
async def run_cluster(settings: Settings) -> AsyncIterator[Addresses]:
    """Serve until the block ends; then end every task and leave no process.

    Raises ValueError: the simulated GPUs or their state cannot be read.  OSError: a port is taken.
    """
    node_id = uuid.uuid4()
    hardware = SimulatedHardware(parse_models(settings.simulated_gpus), settings.gpu_state_file)
    devices = device_rows(await asyncio.to_thread(hardware.groups))
    drivers: dict[str, Driver] = {"mock_driver": MockDriver(), "raw_exec": RawExecDriver()}
    if (docker := await asyncio.to_thread(DockerDriver.connect, settings.docker_host)) is not None:
        drivers["docker"] = docker
    capabilities = {name: driver.capabilities for name, driver in drivers.items()}
    async with contextlib.AsyncExitStack() as stack:
        for driver in drivers.values():
            stack.push_async_callback(driver.close)
        node = describe_node("127.0.0.1:0", settings.data_dir, capabilities, devices, node_id, settings.host_volumes)
        state = State(node)
        scheduler, catalog = Scheduler(state, is_bindable), Catalog(str(uuid.uuid4()), node["Name"])
        client = Client(scheduler, catalog, drivers, settings.data_dir)
        poller = CheckPoller(catalog, await stack.enter_async_context(aiohttp.ClientSession()))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        client.open(tasks, poller)
        stack.push_async_callback(client.close)
        if settings.gpu_state_file is not None:
            following = tasks.create_task(follow_hardware(hardware, scheduler), name="hardware")
            stack.callback(following.cancel)
        nomad_api = NomadApi(scheduler, settings.token, client.allocation_folder)
        nomad = await stack.enter_async_context(
            serve(nomad_api.application(), settings.nomad_port, connections_per_client=NOMAD_CONNECTIONS)
        )
        consul = await stack.enter_async_context(
            serve(ConsulApi(catalog, settings.token).application(), settings.consul_port,
                  connections_per_client=CONSUL_CONNECTIONS)
        )  # fmt: skip
        state.announce(nomad)
        stack.callback(state.events.close)
        yield Addresses(f"http://{nomad}", f"http://{consul}", node["Name"])


def is_bindable(port: int) -> bool:
    """Whether nobody on this machine holds a port of 127.0.0.1."""
    with socket.socket() as probe:
        # As servers do, so that a connection's afterlife does not count as held.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
