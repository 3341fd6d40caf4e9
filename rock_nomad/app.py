"""The composition root: what a gateway is made of, chosen here and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from aiohttp import web

from rock_nomad.config import ConfigError, GatewayConfig, load_secrets
from rock_nomad.consul import Consul
from rock_nomad.gateway.auth import ApiKeys, Authenticator, OpenDoor
from rock_nomad.gateway.calls import RequestIdFilter
from rock_nomad.gateway.dialects import Dialect
from rock_nomad.gateway.dialects.gem import Gem
from rock_nomad.gateway.dialects.native import Native
from rock_nomad.gateway.dialects.ports import add_rock_ports
from rock_nomad.gateway.dialects.rock import Rock
from rock_nomad.gateway.lifecycle import Lifecycle
from rock_nomad.gateway.listening import listen
from rock_nomad.gateway.listing import Listing
from rock_nomad.gateway.locator import AddressBook, Locator
from rock_nomad.gateway.logs import Logs
from rock_nomad.gateway.middleware import is_loopback
from rock_nomad.gateway.observer import Observer
from rock_nomad.gateway.preview import Preview
from rock_nomad.gateway.proxy import Proxy
from rock_nomad.gateway.readiness import Readiness
from rock_nomad.gateway.renderer import Renderer
from rock_nomad.gateway.resolver import Resolver
from rock_nomad.gateway.rocklets import Rocklets, open_session
from rock_nomad.gateway.roles import Gate
from rock_nomad.gateway.server import Handlers, add_routes, add_tunnels, create_server
from rock_nomad.gateway.tunnels import Tunnels
from rock_nomad.gateway.watcher import Watcher
from rock_nomad.jobspec import load_base_job
from rock_nomad.nomad import Nomad
from rock_nomad.sweep import Sweep

__all__ = ["open_gateway", "run_gateway", "serve_gateway", "watch_signals", "write_log"]

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"

log = logging.getLogger(__name__)


async def run_gateway(config: GatewayConfig, *, on_listening: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, and end gracefully; `on_listening` is told the address.

    Raises ConfigError.
    """
    write_log()
    stopped = watch_signals()
    async with serve_gateway(config) as url:
        if on_listening is not None:
            on_listening(url)
        await stopped.wait()


@asynccontextmanager
async def serve_gateway(config: GatewayConfig) -> AsyncIterator[str]:
    """A gateway that listens, at the address that is yielded.

    Raises ConfigError.
    """
    async with open_gateway(config) as app, listen(app, config.host, config.port) as url:
        log.info("gateway of cluster %s listens on %s", config.profile.name, url)
        yield url


@asynccontextmanager
async def open_gateway(config: GatewayConfig) -> AsyncIterator[web.Application]:
    """A gateway's application, with what it needs to run for as long as the block lasts.

    Raises ConfigError.
    """
    tokens, base = load_secrets(config.secret_file), load_base_job(config.base_job_file)
    authenticator = _authenticator(config)
    profile = config.profile
    async with (
        Nomad(config.nomad, namespace=profile.namespace, region=profile.region) as nomad,
        Consul(config.consul) as consul,
        open_session() as session,
    ):
        renderer, rocklets = Renderer(profile, base, tokens), Rocklets(session)
        locator = Locator(consul, tokens, AddressBook(), cluster=profile.name)
        watcher = Watcher(nomad)
        observer = Observer(nomad, locator, rocklets, watcher, profile)
        sweep = Sweep(nomad, profile, observer.answers, watcher.replaced)
        lifecycle = Lifecycle(nomad, renderer, observer, Readiness(consul, locator, rocklets), watcher)
        preview = Preview(nomad, consul, renderer, profile)
        app = create_server(DIALECTS, authenticator, is_open=config.open)
        resolver, gate = Resolver(locator, observer), Gate(config.role, config.elsewhere)
        add_routes(
            app,
            DIALECTS,
            _handlers(lifecycle, Listing(nomad, profile), preview),
            {"read_log": Logs(nomad, observer, watcher).read},
            Proxy(session, rocklets, resolver),
            gate=gate,
        )
        tunnels = Tunnels(session, resolver)
        add_tunnels(app, tunnels, gate)
        add_rock_ports(app, tunnels, gate)
        # Who only reads waits for no sandbox to start and ends none.
        duties = () if config.role == "read" else (watcher.run(), sweep.run())
        async with _on_duty(*duties):
            yield app


@asynccontextmanager
async def _on_duty(*duties: Coroutine[Any, Any, NoReturn]) -> AsyncIterator[None]:
    """Run what never ends beside the block; if one of these fails, the block is cancelled and the failure raised."""
    fault: Exception | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(duty) for duty in duties]
            try:
                yield
            except Exception as error:
                fault = error
                raise
            finally:
                for task in running:
                    task.cancel()
    except BaseExceptionGroup:
        if fault is None:
            raise
        # The block's own error, which the group would have wrapped.
        raise fault from fault.__cause__


DIALECTS: list[Dialect] = [Native(), Rock(), Gem()]


def _handlers(lifecycle: Lifecycle, listing: Listing, preview: Preview) -> Handlers:
    return {
        "create_sandbox": lifecycle.create,
        "get_sandbox": lifecycle.get,
        "stop_sandbox": lifecycle.stop,
        "delete_sandbox": lifecycle.delete,
        "resolve_rocklet": lifecycle.resolve,
        "list_sandboxes": listing.list,
        "render_job": preview.render,
        "plan_sandbox": preview.plan,
        "get_cluster": preview.introduce,
    }


def _authenticator(config: GatewayConfig) -> Authenticator:
    keys = ApiKeys(config.keys_file)
    if not config.open:
        return keys
    if not is_loopback(config.host):
        raise ConfigError(f"an open gateway asks for no key, so it listens on loopback only, not on {config.host}")
    return OpenDoor(keys)


def write_log() -> None:
    """Write the log to stderr, each line with the id of the request that it is about."""
    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=[handler])


def watch_signals() -> asyncio.Event:
    """What Ctrl-C and SIGTERM set from now on, instead of ending this process at once."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped
