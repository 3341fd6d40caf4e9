"""What Nomad reports, as values: jobs, allocations, evaluations, whole or as lines of a listing.

Nomad leaves fields out, sends null for empty, and has other versions; so nothing here raises, and what is missing or of
another kind is as good as absent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rock.wire.spec import SandboxSpec

__all__ = [
    "EMBEDDED",
    "Allocation",
    "Evaluation",
    "Job",
    "Row",
    "TaskEvent",
    "agent_version",
    "allocations_of",
    "evaluations_of",
    "integer",
    "mapping",
    "rows",
    "text",
    "texts",
]

Row = Mapping[str, Any]
"""A JSON object of Nomad's."""

EMBEDDED = "rock-nomad-embedded"
"""The version that the embedded cluster says it has."""


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what a client did with a task."""

    type: str
    at: float
    """Unix seconds, by the client's clock."""
    message: str
    details: Row
    exit_code: int


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """A sandbox's place on a node."""

    id: str
    index: int
    """Which member of its group it is; 0 for a sandbox on its own."""
    create_index: int
    created_at: float
    """Unix seconds."""
    modified_at: float | None
    client_status: str
    client_description: str
    desired_status: str
    desired_description: str
    node_name: str
    preempted_by: str
    is_migrating: bool
    is_replaced: bool
    """Whether Nomad starts another in its stead, which knows nothing of this one."""
    events: list[TaskEvent]
    """Of all tasks, oldest first."""
    started_at: float | None
    finished_at: float | None
    went_unknown: bool
    """Whether its node was lost, once or still, and it never came back."""
    device_ids: list[str]
    host_ip: str | None

    def event(self, *types: str) -> TaskEvent | None:
        """The first event of one of these types."""
        return next((event for event in self.events if event.type in types), None)


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One pass of Nomad's scheduler over the job."""

    created_at: float
    create_index: int
    job_modify_index: int
    triggered_by: str
    status: str
    failed: Row | None
    """Why the group could not be placed; None if it could."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A sandbox's job."""

    id: str
    meta: Mapping[str, str]
    spec: SandboxSpec
    """As its meta remembers it; the defaults where it does not."""
    is_stopped: bool
    status: str
    submitted_at: float
    """Unix seconds; of the deregistration once it is stopped."""
    modify_index: int
    """Of the registration, or the deregistration."""

    @classmethod
    def from_row(cls, row: Row) -> Job:
        """A job from Nomad's JSON."""
        meta = {str(key): text(value) for key, value in mapping(row.get("Meta")).items()}
        return cls(
            id=text(row.get("ID")),
            meta=meta,
            spec=_spec(meta.get("spec", "")),
            is_stopped=row.get("Stop") is True,
            status=text(row.get("Status")),
            submitted_at=_seconds(row.get("SubmitTime")),
            modify_index=integer(row.get("JobModifyIndex")),
        )


def allocations_of(listing: Iterable[object]) -> list[Allocation]:
    """Allocations from Nomad's JSON, oldest first."""
    return sorted((_allocation(mapping(row)) for row in listing), key=lambda each: (each.create_index, each.created_at))


def evaluations_of(listing: Iterable[object]) -> list[Evaluation]:
    """Evaluations from Nomad's JSON, oldest first."""
    return sorted((_evaluation(mapping(row)) for row in listing), key=lambda each: (each.create_index, each.created_at))


def agent_version(config: object) -> str:
    """The version that an agent's configuration names: Consul's in one text, Nomad's in parts."""
    said = mapping(config).get("Version")
    return text(said) or text(mapping(said).get("Version"))


def text(value: object) -> str:
    """A text, or an empty one."""
    return value if isinstance(value, str) else ""


def integer(value: object) -> int:
    """A whole number, or 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def mapping(value: object) -> Row:
    """An object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def rows(value: object) -> list[Row]:
    """The objects of a list, or none."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def texts(value: object) -> list[str]:
    """The texts of a list, or none."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _allocation(row: Row) -> Allocation:
    tasks = [mapping(state) for state in mapping(row.get("TaskStates")).values()]
    events = sorted((_event(each) for task in tasks for each in rows(task.get("Events"))), key=lambda each: each.at)
    resources = mapping(row.get("AllocatedResources"))
    return Allocation(
        id=text(row.get("ID")),
        index=_member(text(row.get("Name"))),
        create_index=integer(row.get("CreateIndex")),
        created_at=_seconds(row.get("CreateTime")),
        modified_at=_seconds(row.get("ModifyTime")) or None,
        client_status=text(row.get("ClientStatus")),
        client_description=text(row.get("ClientDescription")),
        desired_status=text(row.get("DesiredStatus")),
        desired_description=text(row.get("DesiredDescription")),
        node_name=text(row.get("NodeName")),
        preempted_by=text(row.get("PreemptedByAllocation")),
        is_migrating=mapping(row.get("DesiredTransition")).get("Migrate") is True,
        is_replaced=_is_replaced(row),
        events=events,
        started_at=min(_known(task.get("StartedAt") for task in tasks), default=None),
        finished_at=max(_known(task.get("FinishedAt") for task in tasks), default=None),
        went_unknown=_went_unknown(row, events),
        device_ids=_device_ids(resources),
        host_ip=_host_ip(resources),
    )


def _event(row: Row) -> TaskEvent:
    return TaskEvent(
        type=text(row.get("Type")),
        at=_seconds(row.get("Time")),
        message=text(row.get("DisplayMessage")),
        details=mapping(row.get("Details")),
        exit_code=integer(row.get("ExitCode")),
    )


def _went_unknown(row: Row, events: Sequence[TaskEvent]) -> bool:
    if row.get("ClientStatus") == "unknown":
        return True
    unknown = _known(each.get("Time") for each in rows(row.get("AllocStates")) if each.get("Value") == "unknown")
    back = [event.at for event in events if event.type == "Reconnected"]
    return bool(unknown) and max(unknown) > max(back, default=0.0)


def _is_replaced(row: Row) -> bool:
    # Seen on Nomad 2.0.5: whatever the job's policies say, only a drain leaves a hole.
    wanted = mapping(row.get("DesiredTransition"))
    is_moved = wanted.get("Migrate") is True and wanted.get("MigrateDisablePlacement") is not True
    return is_moved or bool(row.get("PreemptedByAllocation")) or row.get("ClientStatus") == "lost"


def _member(name: str) -> int:
    """The n of `job.group[n]`."""
    number = name.rpartition("[")[2].removesuffix("]")
    return int(number) if number.isascii() and number.isdecimal() else 0


def _device_ids(resources: Row) -> list[str]:
    devices = [
        device for task in mapping(resources.get("Tasks")).values() for device in rows(mapping(task).get("Devices"))
    ]
    return [each for device in devices for each in texts(device.get("DeviceIDs"))]


def _host_ip(resources: Row) -> str | None:
    ports = rows(mapping(resources.get("Shared")).get("Ports"))
    return next((text(port.get("HostIP")) for port in ports if port.get("Label") == "rocklet"), None)


def _evaluation(row: Row) -> Evaluation:
    failed = mapping(row.get("FailedTGAllocs"))
    return Evaluation(
        created_at=_seconds(row.get("CreateTime")),
        create_index=integer(row.get("CreateIndex")),
        job_modify_index=integer(row.get("JobModifyIndex")),
        triggered_by=text(row.get("TriggeredBy")),
        status=text(row.get("Status")),
        failed=next((mapping(group) for group in failed.values()), None),
    )


def _spec(remembered: str) -> SandboxSpec:
    try:
        return _SPEC.decode(remembered)
    except msgspec.ValidationError:
        # Written by another version of ours, which has other fields or other limits.
        return _what_fits(mapping(msgspec.json.decode(remembered)))
    except msgspec.DecodeError:
        return SandboxSpec()


def _what_fits(remembered: Row) -> SandboxSpec:
    spec = SandboxSpec()
    for name, value in remembered.items():
        with contextlib.suppress(msgspec.ValidationError):
            one = msgspec.convert({name: value}, SandboxSpec)
            spec = msgspec.structs.replace(spec, **{name: getattr(one, name)})
    return spec


_SPEC = msgspec.json.Decoder(SandboxSpec)


def _seconds(nanoseconds: object) -> float:
    """Nomad's times that are numbers."""
    return integer(nanoseconds) / 1e9


def _known(times: Iterable[object]) -> list[float]:
    """Nomad's times that are texts, without those that have not come: null, or the year 1."""
    found = []
    for time in times:
        try:
            # Python reads six digits of a second, Nomad writes nine.
            whole, _dot, rest = text(time).partition(".")
            seconds = datetime.fromisoformat(f"{whole.removesuffix('Z')}+00:00").timestamp()
            found.append(seconds + float(f"0.{rest.removesuffix('Z') or 0}"))
        except ValueError:
            continue
    return [each for each in found if each > 0]
