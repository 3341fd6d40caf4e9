"""Reads what the checks judge, from Nomad, Consul, the nodes' own agents and the gateway's files.  Changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rock.wire.errors import RockException
from rock_nomad.base_job import load_base_job
from rock_nomad.config import ClusterConfig, ConfigError, GatewayConfig, NomadConfig, load_api_keys, load_secrets
from rock_nomad.consul import Consul
from rock_nomad.doctor.facts import Facts, FileFacts, NodeFacts, Unread
from rock_nomad.doctor.rights import try_consul, try_nomad
from rock_nomad.nomad import Nomad
from rock_nomad.records import EMBEDDED, Row, agent_version, mapping, text

__all__ = ["read_facts"]

_NODES_AT_ONCE = 8
_NODE_AGENT_TIMEOUT = 2.0  # seconds: from where the gateway runs it may well not be reachable

_T = TypeVar("_T")


async def read_facts(config: ClusterConfig) -> Facts:
    """All that can be read of a cluster; what cannot says why.

    Raises ConfigError: a token's file cannot be read.
    """
    profile = config.profile
    async with (
        Nomad(config.nomad, namespace=profile.namespace, region=profile.region) as nomad,
        Consul(config.consul) as consul,
    ):
        agent = await _try(nomad.agent())
        consul_agent = await _try(consul.agent())
        is_embedded = not isinstance(agent, Unread) and agent_version(agent.data.get("config")) == EMBEDDED
        return Facts(
            config=config,
            nomad=agent if isinstance(agent, Unread) else mapping(agent.data.get("config")),
            # The header tells whole seconds, so that half of one is lost on average.
            nomad_clock_offset=0.0 if isinstance(agent, Unread) else agent.date + 0.5 - time.time(),
            nomad_rights=await _unless_silent(agent, lambda: try_nomad(nomad, profile)),
            consul=consul_agent,
            consul_rights=await _unless_silent(consul_agent, lambda: try_consul(consul)),
            scheduler={} if is_embedded else await _unless_silent(agent, lambda: _scheduler(nomad)),
            nodes=await _unless_silent(agent, lambda: _read_nodes(nomad, config, is_embedded=is_embedded)),
            files=_read_files(config) if isinstance(config, GatewayConfig) else (),
        )


async def _try(call: Awaitable[_T]) -> _T | Unread:
    try:
        return await call
    except RockException as error:
        return Unread(why=error.message, is_denied=error.details.get("status") == 403)


async def _unless_silent(agent: object, call: Callable[[], Awaitable[_T]]) -> _T | Unread:
    """What a call brings, if the agent answers at all: a dead one is waited for once, not six times."""
    return agent if isinstance(agent, Unread) and not agent.is_denied else await _try(call())


async def _scheduler(nomad: Nomad) -> Row:
    return mapping((await nomad.scheduler()).data.get("SchedulerConfig"))


# ------------------------------------------------------------------------------------------------------------- nodes


async def _read_nodes(nomad: Nomad, config: ClusterConfig, *, is_embedded: bool) -> list[NodeFacts]:
    """The nodes of the profile's pool and datacenters, by name."""
    profile = config.profile
    pool = [
        row
        for row in (await nomad.nodes()).data
        if profile.node_pool in ("all", row.get("NodePool"))
        and any(fnmatchcase(text(row.get("Datacenter")), glob) for glob in profile.datacenters)
    ]
    turns = asyncio.Semaphore(_NODES_AT_ONCE)

    async def read(row: Row) -> NodeFacts:
        async with turns:
            return await _read_node(nomad, config.nomad, row, is_embedded=is_embedded)

    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(read(row)) for row in pool]
    return sorted((task.result() for task in reading), key=lambda node: node.name)


async def _read_node(nomad: Nomad, config: NomadConfig, row: Row, *, is_embedded: bool) -> NodeFacts:
    if row.get("Status") != "ready":
        silent = Unread(why=f"it is {text(row.get('Status'))}")
        return NodeFacts(row=row, attributes=silent, clock_offset=silent, agent=silent)
    whole = await _try(nomad.node(text(row.get("ID"))))
    found: Row = {} if isinstance(whole, Unread) or whole is None else whole.data
    if is_embedded:
        settings = Unread(why="embedded: not applicable")
        return NodeFacts(row=row, attributes=mapping(found.get("Attributes")), clock_offset=0.0, agent=settings)
    clock = await _try(nomad.node_clock(text(row.get("ID"))))
    return NodeFacts(
        row=row,
        attributes=whole if isinstance(whole, Unread) else mapping(found.get("Attributes")),
        clock_offset=clock if isinstance(clock, Unread) else clock - time.time(),
        agent=await _read_agent(config, found),
    )


async def _read_agent(config: NomadConfig, node: Row) -> Row | Unread:
    """What a node's own agent says of itself, where it can be reached from here."""
    scheme = "https" if node.get("TLSEnabled") else "http"
    if urlsplit(config.url).scheme == "https" and scheme == "http":
        return Unread(why="it serves plain HTTP, to which no token is sent")
    there = config.model_copy(
        update={"url": f"{scheme}://{text(node.get('HTTPAddr'))}", "timeout": min(config.timeout, _NODE_AGENT_TIMEOUT)}
    )
    async with Nomad(there) as agent:
        answer = await _try(agent.agent())
    return answer if isinstance(answer, Unread) else mapping(answer.data.get("config"))


# ------------------------------------------------------------------------------------------------------------- files


def _read_files(config: GatewayConfig) -> list[FileFacts]:
    tokens = [agent.token_file for agent in (config.nomad, config.consul) if agent.token_file is not None]
    keys = [agent.key_file for agent in (config.nomad, config.consul) if agent.key_file is not None]
    return [
        _read_file(config.secret_file, load_secrets, is_secret=True),
        _read_file(config.keys_file, load_api_keys, is_secret=False),
        *(_read_file(path, Path.read_bytes, is_secret=True) for path in dict.fromkeys([*tokens, *keys])),
        *_base_job(config.base_job_file),
    ]


def _base_job(path: Path | None) -> Iterator[FileFacts]:
    if path is not None:
        yield _read_file(path, load_base_job, is_secret=False)


def _read_file(path: Path, load: Callable[[Path], object], *, is_secret: bool) -> FileFacts:
    try:
        load(path)
        complaint = ""
    except (ConfigError, OSError) as error:
        complaint = str(error)
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        mode = None
    return FileFacts(path=path, is_secret=is_secret, mode=mode, complaint=complaint)
