"""Credentials of a private registry: they stand in no job, but in one Nomad variable, while the image is pulled.

A task's `secret` block reads the variable and its `auth` refers to that, so that they are in no environment and no file
of the sandbox either (a template with `env` would put them into both).  The variable's path is one that the job's own
workload identity may read.  Once the sandbox has started, blanks are written over them; when it is over, the variable
goes.  It is not deleted sooner: a Nomad client that is restarted reads it again, and while it misses it neither sees
the sandbox end nor ends it (seen on 2.0.5).
Source: hashicorp/nomad client/allocrunner/taskrunner/secrets_hook.go, secrets/nomad_provider.go.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping

from rock.wire.errors import ClusterUnavailable
from rock.wire.spec import Registry
from rock_nomad.life import Life
from rock_nomad.names import job_id, sandbox_id_of_variable, variable_path
from rock_nomad.nomad import JobExists, Nomad
from rock_nomad.records import Row, integer, text
from rock_nomad.snapshot import Snapshot

__all__ = ["Credentials"]

ORPHAN_AGE = 60.0  # seconds after which a variable without a job was left by a gateway that died

_BLANK = {"username": "", "password": ""}

log = logging.getLogger(__name__)


class Credentials:
    """Puts sandboxes' credentials where their nodes find them, and takes them away again."""

    def __init__(self, nomad: Nomad) -> None:
        self._nomad = nomad

    async def put(self, sandbox_id: str, registry: Registry) -> None:
        """Write them, before their job is registered.

        Raises JobExists: there is such a sandbox, with credentials of its own.  ClusterUnavailable: it is being created
        by somebody else; with credentials that are not its own it could send these to a registry they are not for.
        """
        # As text in quotes, because Nomad reads the items as lines of a dotenv file.
        items = {"username": registry.username, "password": registry.password}
        quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in items.items()}
        if await self._nomad.create_variable(variable_path(sandbox_id), quoted):
            return
        if await self._nomad.job(job_id(sandbox_id)) is not None:
            raise JobExists(job_id(sandbox_id), "it has credentials")
        raise ClusterUnavailable(f"sandbox {sandbox_id} is being created by another call; send it again in a moment")

    async def blank(self, sandbox_id: str) -> None:
        """Write blanks over them: the sandbox has its image."""
        await self._attempt(sandbox_id, _BLANK)

    async def forget(self, sandbox_id: str) -> None:
        """Take the variable away: the sandbox is over, or was never registered."""
        await self._attempt(sandbox_id, None)

    async def tidy(self, snapshot: Snapshot) -> None:
        """Blank and take away what has served, of all sandboxes of the cluster and of those that never came to be.

        Raises ClusterUnavailable.
        """
        variables = (await self._nomad.list_variables(variable_path())).data
        over, started, strays = _sort(snapshot, variables)
        for sandbox_id in started:
            await self.blank(sandbox_id)
        for sandbox_id in strays:
            if await self._nomad.job(job_id(sandbox_id)) is None:
                over.append(sandbox_id)
        for sandbox_id in over:
            await self.forget(sandbox_id)

    async def _attempt(self, sandbox_id: str, items: Mapping[str, str] | None) -> None:
        path = variable_path(sandbox_id)
        try:
            await (self._nomad.delete_variable(path) if items is None else self._nomad.put_variable(path, items))
        except ClusterUnavailable as error:
            log.warning("the credentials of sandbox %s stay for the next sweep: %s", sandbox_id, error)


def _sort(snapshot: Snapshot, variables: Iterable[Row]) -> tuple[list[str], list[str], list[str]]:
    """Of which sandboxes they are: those that are over, those that have started, those that there may not be."""
    jobs = {text(job.get("ID")): job for job in snapshot.jobs}
    over, started, strays = list[str](), list[str](), list[str]()
    for row in variables:
        sandbox_id = sandbox_id_of_variable(text(row.get("Path")))
        if sandbox_id is None:
            continue
        job = jobs.get(job_id(sandbox_id))
        if job is None:
            if integer(row.get("CreateTime")) / 1e9 < snapshot.now - ORPHAN_AGE:
                strays.append(sandbox_id)
            continue
        life = Life.from_rows(job, snapshot.allocations.get(job_id(sandbox_id), ()), [])
        if life.is_over:
            over.append(sandbox_id)
        elif life.allocation is not None and life.allocation.started_at is not None and _is_first(row):
            started.append(sandbox_id)
    return over, started, strays


def _is_first(variable: Row) -> bool:
    """Whether it is as it was created: with the credentials, which every later version is without."""
    return variable.get("ModifyIndex") == variable.get("CreateIndex")
