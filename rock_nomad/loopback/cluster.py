"""A cluster on loopback: brought up in the order in which its agents get ready soonest, and taken down to nothing."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from rock.wire.errors import InternalServerRockError
from rock_nomad.loopback.acl import make_consul_tokens, make_nomad_tokens
from rock_nomad.loopback.agents import Agent, Command
from rock_nomad.loopback.api import Api, wait_until
from rock_nomad.loopback.certificates import make_certificate
from rock_nomad.loopback.configs import Plan, Tokens, node_name, render_configs, write_configs
from rock_nomad.loopback.executables import Executable, find_executables
from rock_nomad.loopback.places import Place, claim_place
from rock_nomad.loopback.settings import Settings

__all__ = ["Cluster", "Description", "NodeDescription", "run_cluster"]

_START_TIMEOUT = 60.0  # seconds for each agent; a loaded machine
_END_TIMEOUT = 20.0  # seconds for all tasks to end, before what is left is killed

_ENDED = ("complete", "failed", "lost")

log = logging.getLogger(__name__)


class NodeDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A node, for those who look at it from outside."""

    name: str
    node_id: str
    url: str
    """Where its Nomad client answers."""
    consul_url: str
    """Where its Consul agent answers."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """Where a cluster is, and how to get in.  Tokens are empty where none is asked for."""

    nomad: str
    consul: str
    nomad_token: str
    """Management's."""
    consul_token: str
    """Management's."""
    gateway_nomad_token: str
    gateway_consul_token: str
    ca_file: str | None
    """None: it speaks plain HTTP."""
    nodes: tuple[NodeDescription, ...]
    process_ids: dict[str, int]
    """Of the agents that run, by name."""
    versions: dict[str, str]
    """Of the executables, by name."""
    folder: str
    """Where data and logs are, until it ends."""


@contextmanager
def run_cluster(settings: Settings) -> Iterator[Cluster]:
    """A cluster whose nodes are ready; nothing of it is left when the block ends.

    Raises BadRequestRockError: this machine cannot run one.  InternalServerRockError: an agent does not get ready.
    """
    executables = find_executables()
    with claim_place() as place:
        cluster = Cluster(settings, executables, place)
        try:
            cluster.bring_up()
            yield cluster
        finally:
            cluster.take_down()


class Cluster:
    """The agents of one cluster, by name: `consul`, `server`, `node-0`, `node-0-consul`, ..."""

    def __init__(self, settings: Settings, executables: dict[str, Executable], place: Place) -> None:
        tokens = Tokens(*(str(uuid.uuid4()) for _ in Tokens._fields)) if settings.acl else None
        certificate = None
        if settings.tls:
            (place.folder / "tls").mkdir(mode=0o700)
            certificate = make_certificate(place.folder / "tls", executables["nomad"].path)
        self._plan = Plan(place, settings, tokens, certificate)
        self._versions = {name: executable.version for name, executable in executables.items()}
        configs = render_configs(self._plan)
        write_configs(configs, place.folder)
        (place.folder / "tmp").mkdir()
        (place.folder / "tmp").chmod(0o1777)
        self._agents = {name: Agent(name, _command(name, executables, place)) for name in configs}
        self._gateway_tokens = ("", "")
        self._node_ids: dict[str, str] = {}
        ca_file = certificate["ca_file"] if certificate else None
        self._nomad = Api(self._plan.nomad_url, "X-Nomad-Token", tokens.nomad if tokens else "", ca_file)
        self._consul = Api(self._plan.consul_url, "X-Consul-Token", tokens.consul if tokens else "", ca_file)

    def bring_up(self) -> None:
        """Start every agent and wait until all nodes are ready.

        Raises InternalServerRockError: one does not get there.
        """
        nodes = range(len(self._plan.settings.nodes))
        for name in self._agents:
            # A client that registers before its server's keyring can be used may wait half a minute for its next try.
            if name not in {node_name(node) for node in nodes}:
                self._agents[name].start()
        if self._plan.tokens:
            consul = make_consul_tokens(self._consul, self._plan.tokens.agents)
            self._gateway_tokens = (make_nomad_tokens(self._nomad), consul)
        self._await("server", lambda: bool(self._nomad.call("GET", "/v1/operator/keyring/keys").data))
        for node in nodes:
            # A client that does not find its Consul at once looks again after a while.
            self._await(f"{node_name(node)}-consul", partial(self._answers, f"{node_name(node)}-consul"))
            self._agents[node_name(node)].start()
        for node in nodes:
            self._await(node_name(node), partial(self._is_ready, node_name(node)))

    def describe(self) -> Description:
        """Where everything is now."""
        plan = self._plan
        names = [node_name(node) for node in range(len(plan.settings.nodes))]
        return Description(
            nomad=plan.nomad_url,
            consul=plan.consul_url,
            nomad_token=self._nomad.token,
            consul_token=self._consul.token,
            gateway_nomad_token=self._gateway_tokens[0],
            gateway_consul_token=self._gateway_tokens[1],
            ca_file=self._nomad.ca_file,
            nodes=tuple(
                NodeDescription(
                    name=name,
                    node_id=self._node_ids[name],
                    url=plan.client_url(node),
                    consul_url=plan.consul_client_url(node),
                )
                for node, name in enumerate(names)
            ),
            process_ids={name: pid for name, agent in self._agents.items() if (pid := agent.find_process_id())},
            versions=self._versions,
            folder=str(plan.place.folder),
        )

    def start(self, name: str) -> None:
        """Start an agent that was stopped or killed, and wait until it answers.

        Raises KeyError: there is none of that name.  InternalServerRockError: it does not answer.
        """
        self._agents[name].start()
        self._await(name, lambda: self._answers(name))

    def stop(self, name: str) -> None:
        """Stop an agent as its operator would.  Raises KeyError: there is none of that name."""
        self._agents[name].stop()

    def kill(self, name: str) -> None:
        """Kill an agent; a node's tasks live on.  Raises KeyError: there is none of that name."""
        self._agents[name].kill()

    def take_down(self) -> None:
        """End every job, if the agents still can, and then the agents."""
        with contextlib.suppress(OSError):
            self._end_jobs()
        for agent in self._agents.values():
            agent.kill()  # nothing of it is kept, and a graceful end takes seconds

    def _end_jobs(self) -> None:
        if any(agent.find_process_id() is None for agent in self._agents.values()):
            return  # the sweep ends what they would have
        for job in self._nomad.call("GET", "/v1/jobs?namespace=*").data:
            self._nomad.call("DELETE", f"/v1/job/{job['ID']}?namespace={job['Namespace']}&purge=true")
        ended = wait_until(lambda: all(row["ClientStatus"] in _ENDED for row in self._allocations()), _END_TIMEOUT)
        if not ended:
            log.warning("not every task has ended within %g s; what is left is killed", _END_TIMEOUT)

    def _allocations(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._nomad.call("GET", "/v1/allocations?namespace=*").data
        return rows

    def _answers(self, name: str) -> bool:
        """Whether an agent does what it is there for."""
        # What `/v1/status/leader` says may be of before the agent was stopped; these reads ask the leader itself.
        if name == "consul":
            return self._consul.call("GET", "/v1/catalog/nodes").status == 200
        if name == "server":
            return self._nomad.call("GET", "/v1/nodes").status == 200
        node = int(name.split("-")[1])
        if name.endswith("-consul"):
            consul = replace(self._consul, url=self._plan.consul_client_url(node))
            return consul.call("GET", "/v1/catalog/nodes").status == 200
        return replace(self._nomad, url=self._plan.client_url(node)).call("GET", "/v1/agent/self").status == 200

    def _is_ready(self, name: str) -> bool:
        """Whether a node is ready and knows of Consul, which it may find later and jobs with services ask for."""
        rows = [row for row in self._nomad.call("GET", "/v1/nodes").data if row["Name"] == name]
        if not rows or rows[0]["Status"] != "ready":
            return False
        self._node_ids[name] = rows[0]["ID"]
        return "consul.version" in self._nomad.call("GET", f"/v1/node/{rows[0]['ID']}").data["Attributes"]

    def _await(self, name: str, is_so: Callable[[], bool]) -> None:
        agent = self._agents[name]

        def has_ended() -> bool:
            return agent.find_process_id() is None

        if not wait_until(lambda: has_ended() or is_so(), _START_TIMEOUT) or has_ended():
            raise InternalServerRockError(f"{name} does not get ready; the end of its log:\n{agent.last_words()}")


def _command(name: str, executables: dict[str, Executable], place: Place) -> Command:
    program, option = ("consul", "-config-file") if name.endswith("consul") else ("nomad", "-config")
    arguments = (executables[program].path, "agent", option, str(place.folder / f"{name}.json"))
    return Command(arguments, place.folder / f"{name}.log", place.folder / "tmp")
