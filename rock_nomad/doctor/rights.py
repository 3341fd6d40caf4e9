"""What the gateway's tokens must be granted: each right with a way to try it that changes nothing.

Trying is truer than reading policies: roles, globs and workload identities count as they do for the gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from rock.wire.errors import RockException
from rock_nomad.config import ClusterProfile
from rock_nomad.consul import Consul, Right
from rock_nomad.doctor.facts import Rights
from rock_nomad.isolation import ISOLATIONS
from rock_nomad.jobspec import needs_volume
from rock_nomad.nomad import JobExists, Nomad
from rock_nomad.shipped import shipped_file

__all__ = ["consul_policy", "nomad_policy", "try_consul", "try_nomad"]

_PROBE = "sbx-doctor--probe"  # no sandbox can have this job: `--` is in no id
_NEVER = 1  # a JobModifyIndex that no job has: Nomad checks the rights, and then registers nothing


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A right of Nomad's."""

    right: str
    act: Callable[[Nomad, ClusterProfile], Awaitable[object]]


_ATTEMPTS: Sequence[_Attempt] = (
    _Attempt(right="agent read", act=lambda nomad, _: nomad.agent()),
    _Attempt(right="node read", act=lambda nomad, _: nomad.nodes()),
    _Attempt(right="list-jobs", act=lambda nomad, _: nomad.list_jobs(_PROBE)),
    _Attempt(right="read-job", act=lambda nomad, _: nomad.job(_PROBE)),
    _Attempt(right="plan-job", act=lambda nomad, profile: nomad.plan(_probe_job(profile))),
    _Attempt(right="register-job", act=lambda nomad, profile: _register(nomad, _probe_job(profile))),
    _Attempt(right="deregister-job", act=lambda nomad, _: nomad.stop(_PROBE)),
    _Attempt(right="purge-job", act=lambda nomad, _: nomad.stop(_PROBE, purge=True)),
)

_CONSUL_RIGHTS: Sequence[tuple[str, Right]] = (
    ("agent read", Right(resource="agent", segment="any", access="read")),
    ("node read", Right(resource="node", segment="any", access="read")),
    ("service rocklet- read", Right(resource="service", segment="rocklet-any", access="read")),
)


async def try_nomad(nomad: Nomad, profile: ClusterProfile) -> Rights:
    """Which of Nomad's rights are missing.

    Raises ClusterUnavailable: Nomad does not answer.
    """
    attempts = list(_ATTEMPTS)
    if any(needs_volume(ISOLATIONS[isolation], profile) for isolation in profile.isolations):
        attempts.append(_Attempt(right=f"host_volume {profile.rocklet_volume} read", act=_register_with_volume))
    missing, complaints = [], []
    for attempt in attempts:
        try:
            await attempt.act(nomad, profile)
        except JobExists:
            pass  # in words of Nomad's: it is not there in that version, so nothing was registered
        except RockException as error:
            if error.details.get("status") == 403:
                missing.append(attempt.right)
            else:
                complaints.append(error.message)
    is_volume_told = "register-job" not in missing
    told = [right for right in missing if is_volume_told or not right.startswith("host_volume")]
    return Rights(missing=told, complaint=next(iter(complaints), ""))


async def try_consul(consul: Consul) -> Rights:
    """Which of Consul's rights are missing.

    Raises ClusterUnavailable: Consul does not answer, or does not know the token.
    """
    granted = await consul.are_granted([right for _name, right in _CONSUL_RIGHTS])
    named = zip((name for name, _right in _CONSUL_RIGHTS), granted, strict=True)
    return Rights(missing=[name for name, is_granted in named if not is_granted])


def nomad_policy(profile: ClusterProfile) -> str:
    """The policy that grants all on Nomad, for a profile."""
    written = shipped_file("acl-nomad.hcl").read_text("utf-8")
    named = written.replace('namespace "default"', f'namespace "{profile.namespace}"')
    return named.replace('host_volume "rocklet"', f'host_volume "{profile.rocklet_volume}"')


def consul_policy() -> str:
    """The policy that grants all on Consul."""
    return shipped_file("acl-consul.hcl").read_text("utf-8")


def _register_with_volume(nomad: Nomad, profile: ClusterProfile) -> Awaitable[object]:
    job = _probe_job(profile)
    volume = {"Name": "rocklet", "Type": "host", "Source": profile.rocklet_volume, "ReadOnly": True}
    job["TaskGroups"][0]["Volumes"] = {"rocklet": volume}
    return _register(nomad, job)


def _register(nomad: Nomad, job: dict[str, Any]) -> Awaitable[object]:
    return nomad.register(job, enforce_index=_NEVER)


def _probe_job(profile: ClusterProfile) -> dict[str, Any]:
    task = {"Name": "probe", "Driver": "raw_exec", "Config": {"command": "/bin/true"}}
    return {
        "ID": _PROBE,
        "Name": _PROBE,
        "Type": "batch",
        "Namespace": profile.namespace,
        "Datacenters": list(profile.datacenters),
        "NodePool": profile.node_pool,
        "TaskGroups": [{"Name": "probe", "Count": 1, "Tasks": [task]}],
    }
