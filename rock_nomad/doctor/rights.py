"""What the gateway's tokens must be granted: each right with a way to try it that changes nothing.

Trying is truer than reading policies: roles, globs and workload identities count as they do for the gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

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
_VARIABLE = f"nomad/jobs/{_PROBE}"
_NEVER = 1  # an index that no job and no variable has: Nomad checks the rights, and then writes nothing
_REGISTER = "register-job"

_Attempt = Callable[[Nomad, ClusterProfile], Awaitable[object]]

_ATTEMPTS: Sequence[_Attempt] = (
    lambda nomad, _: nomad.agent(),
    lambda nomad, _: nomad.nodes(),
    lambda nomad, _: nomad.list_jobs(_PROBE),
    lambda nomad, _: nomad.job(_PROBE),
    lambda nomad, profile: nomad.plan(_probe_job(profile)),
    lambda nomad, profile: _register(nomad, _probe_job(profile)),
    lambda nomad, _: nomad.stop(_PROBE),
    lambda nomad, _: nomad.stop(_PROBE, purge=True),
    lambda nomad, _: nomad.list_variables(_VARIABLE),
    lambda nomad, _: nomad.create_variable(_VARIABLE, {"probe": ""}, enforce_index=_NEVER),
    lambda nomad, _: nomad.delete_variable(_VARIABLE),
)
"""What the gateway does, but for reading logs: to whom it may not, Nomad shows that only of an allocation it has."""

_CONSUL_RIGHTS: Sequence[tuple[str, Right]] = (
    ("agent read", Right(resource="agent", segment="any", access="read")),
    ("node read", Right(resource="node", segment="any", access="read")),
    ("service rocklet- read", Right(resource="service", segment="rocklet-any", access="read")),
)


async def try_nomad(nomad: Nomad, profile: ClusterProfile) -> Rights:
    """Which of Nomad's rights are missing.

    Raises ClusterUnavailable: Nomad does not answer.
    """
    missing: dict[str, None] = {}  # in the order of the attempts
    complaints = []
    for attempt in _ATTEMPTS:
        try:
            await attempt(nomad, profile)
        except JobExists:
            pass  # in words of Nomad's: it is not there in that version, so nothing was registered
        except RockException as error:
            if error.details.get("status") == 403:
                missing[error.details["right"]] = None
            else:
                complaints.append(error.message)
    if _REGISTER not in missing and await _lacks_volume(nomad, profile):
        missing[f"host_volume {profile.rocklet_volume} read"] = None
    return Rights(missing=list(missing), complaint=next(iter(complaints), ""))


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


async def _lacks_volume(nomad: Nomad, profile: ClusterProfile) -> bool:
    """Whether jobs that mount the bundle are refused to a token that may register others."""
    if not any(needs_volume(ISOLATIONS[isolation], profile) for isolation in profile.isolations):
        return False
    job = _probe_job(profile)
    volume = {"Name": "rocklet", "Type": "host", "Source": profile.rocklet_volume, "ReadOnly": True}
    job["TaskGroups"][0]["Volumes"] = {"rocklet": volume}
    try:
        await _register(nomad, job)
    except JobExists:
        return False
    except RockException as error:
        return error.details.get("status") == 403
    return False


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
