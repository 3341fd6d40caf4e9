"""Listing sandboxes: Nomad's listings, joined, filtered and cut into pages.  By Nomad's word alone."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace

from rock.wire.errors import InvalidRequest
from rock.wire.messages import ListSandboxesRequest, SandboxList, SandboxStatus
from rock_nomad.config import ClusterProfile
from rock_nomad.gateway.calls import Call
from rock_nomad.names import JOB_PREFIX
from rock_nomad.nomad import Nomad
from rock_nomad.records import Row, integer, mapping, text
from rock_nomad.snapshot import Snapshot, add_evaluations, take_snapshot

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
        snapshot = await take_snapshot(self._nomad, self._profile)
        if tenant is not None:
            snapshot = replace(snapshot, jobs=[job for job in snapshot.jobs if _tenant(job) == tenant])
        if request.sandbox_id:
            wanted = {f"{JOB_PREFIX}{sandbox_id}" for sandbox_id in request.sandbox_id}
            snapshot = replace(snapshot, jobs=[job for job in snapshot.jobs if text(job.get("ID")) in wanted])
        snapshot = await add_evaluations(self._nomad, snapshot, snapshot.jobs)
        # Some 60 µs a sandbox: in a thread, so that thousands of them do not hold up everybody's actions.
        return await asyncio.to_thread(page_of, snapshot, request)


def page_of(snapshot: Snapshot, request: ListSandboxesRequest) -> SandboxList:
    """The page that a request asks for.

    Raises InvalidRequest: a label or cursor that is none.
    """
    labels = [_label(each) for each in request.label]
    begin = _place_of(request.cursor) if request.cursor is not None else None
    page: list[SandboxStatus] = []
    last: _Place | None = None
    matching, is_cut = 0, False
    for job in sorted(snapshot.jobs, key=_place, reverse=True):
        place = _place(job)
        if begin is not None and place >= begin and not request.count:
            continue
        status = snapshot.status(job)
        if not _matches(status, request, labels):
            continue
        matching += 1
        if matching <= request.offset or (begin is not None and place >= begin):
            continue
        is_cut = len(page) == request.limit
        if not is_cut:
            page.append(status)
            last = place
        elif not request.count:
            break
    cursor = _cursor(last) if is_cut and last is not None else None
    return SandboxList(sandboxes=page, next_cursor=cursor, total=matching if request.count else None)


def _tenant(job: Row) -> str:
    return text(mapping(job.get("Meta")).get("tenant"))


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
