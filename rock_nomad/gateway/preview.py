"""What would become of a request, and of whom it would be asked: nothing here changes anything."""

from __future__ import annotations

from importlib.metadata import version

from rock.wire.messages import ClusterInfo, CreateSandboxRequest, Empty, Plan, RenderedJob
from rock_nomad.config import ClusterProfile
from rock_nomad.consul import Consul
from rock_nomad.gateway.calls import Call
from rock_nomad.gateway.renderer import Renderer
from rock_nomad.jobspec import job_warnings
from rock_nomad.nomad import Nomad
from rock_nomad.placement import Ask, explain
from rock_nomad.records import EMBEDDED, agent_version

__all__ = ["Preview"]


class Preview:
    """Renders, plans and introduces the cluster."""

    def __init__(self, nomad: Nomad, consul: Consul, renderer: Renderer, profile: ClusterProfile) -> None:
        self._nomad, self._consul, self._renderer, self._profile = nomad, consul, renderer, profile

    async def render(self, call: Call, request: CreateSandboxRequest) -> RenderedJob:
        """The job that a spec becomes."""
        _sandbox_id, job = self._renderer.render(request.spec, tenant=call.caller.tenant)
        return RenderedJob(job=job)

    async def plan(self, call: Call, request: CreateSandboxRequest) -> Plan:
        """What Nomad's scheduler would do with a spec now."""
        _sandbox_id, job = self._renderer.render(request.spec, tenant=call.caller.tenant)
        failed = (await self._nomad.plan(job)).data.get("FailedTGAllocs") or {}
        warnings = job_warnings(request.spec, self._profile)
        if not failed:
            return Plan(fits=True, message="it would be placed at once", warnings=warnings)
        nodes = (await self._nomad.nodes()).data
        ask = Ask.from_job(job, request.spec)
        is_elastic = ask.node_pool in self._profile.elastic_pools
        verdict = explain(next(iter(failed.values())), ask, nodes, is_elastic=is_elastic)
        return Plan(fits=False, impossible=verdict.kind == "impossible", message=verdict.message, warnings=warnings)

    async def introduce(self, _call: Call, _request: Empty) -> ClusterInfo:
        """The cluster's name, versions and isolations."""
        nomad = agent_version((await self._nomad.agent()).data.get("config"))
        consul = agent_version((await self._consul.agent()).get("Config"))
        return ClusterInfo(
            name=self._profile.name,
            version=version("rock-nomad"),
            nomad=nomad if nomad == EMBEDDED else f"nomad {nomad}",
            consul=consul if consul == EMBEDDED else f"consul {consul}",
            isolations=list(self._profile.isolations),
            embedded=nomad == EMBEDDED,
        )
