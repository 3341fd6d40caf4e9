"""Which nodes can keep sandboxes apart in which way, judged.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rock_nomad.config import ClusterProfile
from rock_nomad.doctor.facts import Facts, NodeFacts
from rock_nomad.doctor.findings import Finding, ok, some, unfit, warning
from rock_nomad.isolation import DOCKER_RUNTIMES_ATTRIBUTE, ISOLATIONS, IsolationProfile
from rock_nomad.jobspec import needs_volume
from rock_nomad.records import mapping, text, texts

__all__ = ["check_docker", "check_isolations", "isolations_by_node"]

_RUNTIMES = DOCKER_RUNTIMES_ATTRIBUTE.removeprefix("${attr.").removesuffix("}")


class _Lack(NamedTuple):
    """Why a node cannot keep sandboxes apart in some way."""

    what: str
    remedy: str


def isolations_by_node(facts: Facts) -> Mapping[str, Mapping[str, str]]:
    """For each isolation and each ready node what the node lacks for it; an empty text: nothing."""
    return {
        isolation: {node: lack.what if lack else "" for node, lack in _lacks(facts, isolation).items()}
        for isolation in ISOLATIONS
    }


def check_isolations(facts: Facts) -> Iterator[Finding]:
    """That every isolation which the profile offers has nodes."""
    if not facts.ready_nodes:
        return
    for isolation in dict.fromkeys((facts.profile.default_isolation, *facts.profile.isolations)):
        lacks = list(_lacks(facts, isolation).values())
        able, counts = lacks.count(None), Counter(lack for lack in lacks if lack is not None)
        subject, said = f"isolation {isolation}", f"{able} of {len(lacks)} nodes"
        if not counts:
            yield ok(subject, said)
            continue
        without = "; ".join(f"{count} with {lack.what}" for lack, count in counts.most_common())
        remedies = dict.fromkeys(lack.remedy for lack, _count in counts.most_common())
        judge = warning if able else unfit
        yield judge(subject, f"{said}: {without}", "; ".join(remedies))


def _lacks(facts: Facts, isolation: str) -> dict[str, _Lack | None]:
    return {node.name: _lack(node, ISOLATIONS[isolation], facts.profile) for node in facts.ready_nodes}


def _lack(node: NodeFacts, kind: IsolationProfile, profile: ClusterProfile) -> _Lack | None:
    driver = node.drivers.get(kind.driver)
    if driver is None:
        remedy = "enable it in the client's configuration (client.hcl), and see nomad node status -verbose"
        return _Lack(f"no healthy driver {kind.driver}", remedy)
    if kind.runtime is not None and kind.runtime not in text(driver.get(_RUNTIMES)).split(","):
        remedy = "install it, name it in the Docker engine's daemon.json and in allow_runtimes (client.hcl)"
        return _Lack(f"no runtime {kind.runtime}", remedy)
    if kind.driver == "docker" and (refused := _refused_by_docker(node, kind, profile)):
        return refused
    if needs_volume(kind, profile) and profile.rocklet_volume not in node.volumes:
        volume = f'host_volume "{profile.rocklet_volume}"'
        remedy = f"rock-nomad bundle build, then client {{ {volume} {{ ... }} }} (client.hcl)"
        return _Lack(f"no host volume {profile.rocklet_volume}", remedy)
    return None


def _refused_by_docker(node: NodeFacts, kind: IsolationProfile, profile: ClusterProfile) -> _Lack | None:
    """What the driver would refuse when the task starts: after Nomad has placed it, which knows nothing of that."""
    config = node.docker_config
    if config is None:
        return None
    if kind.runtime not in texts(config.get("allow_runtimes")):
        remedy = 'plugin "docker" { config { allow_runtimes = [...] } }; without it tasks fail as they start'
        return _Lack(f"no allow_runtimes for {kind.runtime}", remedy)
    allowed = {cap.lower() for cap in texts(config.get("allow_caps"))}
    denied = [cap for cap in profile.container.capabilities if allowed.isdisjoint({cap.lower(), "all"})]
    if denied:
        remedy = 'plugin "docker" { config { allow_caps = [...] } }, or fewer capabilities in the profile'
        return _Lack(f"no allow_caps for {', '.join(denied)}", remedy)
    return None


def check_docker(facts: Facts) -> Iterator[Finding]:
    """That a job cannot leave its container by what the driver allows, and that images stay."""
    for attribute, consequence, remedy in _OPENINGS:
        open_ = [node.name for node in facts.ready_nodes if _is_on(node, attribute)]
        if open_:
            said = f"on {some(open_)} every job may {consequence}"
            yield warning("docker", said, f'plugin "docker" {{ config {{ {remedy} }} }}: no sandbox needs it')
    dropping = [node.name for node in facts.ready_nodes if "docker" in node.drivers and _drops_images(node)]
    if dropping and any(ISOLATIONS[each].uses_image for each in facts.profile.isolations):
        said = f"images go soon after their last sandbox, and the next one waits for them again, on {some(dropping)}"
        yield warning("docker", said, 'plugin "docker" { config { gc { image = false } } } (client.hcl)')


_OPENINGS = (
    ("driver.docker.volumes.enabled", "mount any path of the node", "volumes { enabled = false }"),
    ("driver.docker.privileged.enabled", "run privileged containers", "allow_privileged = false"),
)
"""Attributes of nodes whose containers a job can leave, how, and what closes them."""


def _is_on(node: NodeFacts, attribute: str) -> bool:
    return text(node.drivers.get("docker", {}).get(attribute)) in ("true", "1")


def _drops_images(node: NodeFacts) -> bool:
    config = node.docker_config
    return config is not None and mapping(config.get("gc")).get("image") is not False
