"""Listing sandboxes: three listings of Nomad's, joined, filtered and cut into pages.  By Nomad's word alone."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence

from rock.wire.errors import InvalidRequest
from rock.wire.messages import ListSandboxesRequest, SandboxList, SandboxStatus
from rock_nomad.config import ClusterProfile
from rock_nomad.gateway.calls import Call
from rock_nomad.names import JOB_PREFIX
from rock_nomad.nomad import Nomad
from rock_nomad.records import Row, allocations_of, integer, mapping, text
from rock_nomad.status import derive_status
from rock_nomad.sweep import by_job, is_ours

__all__ = ["Listing", "page_of"]

_Place = tuple[int, str]
"""Where a sandbox stands in the order: the index at which its job was created, which nothing changes, and the job."""


class Listing:
    """Lists a tenant's sandboxes, or an operator's cluster."""

    def __init__(self, nomad: Nomad, profile: ClusterProfile) -> None:
        self._nomad, self._profile = nomad, profile

    async def list(self, call: Call, request: ListSandboxesRequest) -> SandboxList:
        """A page of sandboxes, the newest first.

        Raises InvalidRequest: a label or cursor that is none.
        """
        tenant = None if call.caller.role == "operator" else call.caller.tenant
        # Jobs first: an allocation that is younger than its job's row is news, the other way round it would be missed.
        jobs = [job for job in (await self._nomad.list_jobs(JOB_PREFIX)).data if _is_shown(job, tenant, self._profile)]
        allocations = by_job((await self._nomad.list_allocations()).data)
        # Evaluations tell of those that have not started, and of nothing else.
        is_told = all(_has_started(allocations.get(text(job["ID"]), [])) for job in jobs)
        evaluations = {} if is_told else by_job((await self._nomad.list_evaluations()).data)
        return page_of(jobs, allocations, evaluations, request)


def page_of(
    jobs: Sequence[Row],
    allocations: Mapping[str, Sequence[Row]],
    evaluations: Mapping[str, Sequence[Row]],
    request: ListSandboxesRequest,
) -> SandboxList:
    """The page that a request asks for, of these jobs; what belongs to each stands under its id.

    Raises InvalidRequest: a label or cursor that is none.
    """
    labels = [_label(text) for text in request.label]
    begin = _place_of(request.cursor) if request.cursor is not None else None
    page: list[SandboxStatus] = []
    last: _Place | None = None
    for job in sorted(jobs, key=_place, reverse=True):
        place = _place(job)
        if begin is not None and place >= begin:
            continue
        status = derive_status(job, allocations.get(place[1], []), evaluations.get(place[1], []))
        if not _matches(status, request, labels):
            continue
        if len(page) == request.limit:
            return SandboxList(sandboxes=page, next_cursor=_cursor(last) if last is not None else None)
        page.append(status)
        last = place
    return SandboxList(sandboxes=page)


def _is_shown(job: Row, tenant: str | None, profile: ClusterProfile) -> bool:
    return is_ours(job, profile) and (tenant is None or mapping(job.get("Meta")).get("tenant") == tenant)


def _has_started(allocations: Sequence[Row]) -> bool:
    return any(each.started_at is not None for each in allocations_of(allocations))


def _matches(status: SandboxStatus, request: ListSandboxesRequest, labels: Iterable[tuple[str, str]]) -> bool:
    wanted = ((request.state, status.state), (request.reason, status.reason), (request.image, status.image))
    return all(want is None or want == found for want, found in wanted) and all(
        status.labels.get(name) == value for name, value in labels
    )


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise _invalid("label", text, "name=value")
    return name, value


def _place(job: Row) -> _Place:
    return integer(job.get("CreateIndex")), text(job.get("ID"))


def _cursor(place: _Place) -> str:
    return base64.urlsafe_b64encode(f"{place[0]} {place[1]}".encode()).decode()


def _place_of(cursor: str) -> _Place:
    try:
        index, job_id = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").split(" ")
        return int(index), job_id
    except (ValueError, binascii.Error) as error:
        raise _invalid("cursor", cursor, "the next_cursor of the page before") from error


def _invalid(field: str, value: str, expected: str) -> InvalidRequest:
    shown = value[:80]
    return InvalidRequest(
        f"{field} is {shown!r}; it must be {expected}", details={"field": field, "value": shown, "expected": expected}
    )
