"""The seam between the client and what runs a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from rock_nomad.embedded.drivers.directories import TaskDirectories
from rock_nomad.embedded.lifecycle import Exited
from rock_nomad.embedded.placement import Placement
from rock_nomad.embedded.rows import Row

_MIB = 1024 * 1024


class StartRefused(Exception):
    """The task could not be started; `text` stands in its Driver Failure event."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True)
class Capabilities:
    """What a driver can do, and what the node says of it."""

    attributes: dict[str, str]  # the node's attributes while the driver is healthy
    needs_directories: bool  # the task's directories must exist before it starts
    brings_files: bool = False  # the task has a file system of its own, with its directories at its root


@dataclass(frozen=True)
class Port:
    """A port of the node that was given to a task; `inside` is where the task listens if it has its own network."""

    host: int
    inside: int


@dataclass(frozen=True)
class Mount:
    """A directory of the node that a task sees at `target`."""

    source: str
    target: str
    is_read_only: bool


@dataclass(frozen=True)
class TaskSpec:
    """A task with everything interpolated."""

    allocation_id: str
    task: str
    config: Row
    environment: dict[str, str]
    directories: TaskDirectories
    user: str
    cpu: int  # 1000 = one core
    memory_mb: int
    ports: Mapping[str, Port]  # by label
    mounts: tuple[Mount, ...]
    kill_signal: str
    kill_timeout: float  # seconds
    log_files: int
    log_file_bytes: int
    say: Callable[[str, dict[str, str]], None]  # (message, details): a Driver event, before the task has started

    @classmethod
    def from_rows(cls, node: Row, group: Row, placement: Placement, **facts: Any) -> Self:  # noqa: ANN401 - the fields
        """The one task of a canonical group; `facts` are the fields that depend on its allocation."""
        row, network = group["Tasks"][0], (group["Networks"] or [{}])[0]
        logs, asked, volumes = row["LogConfig"], row["Resources"], group["Volumes"]
        inside = {port["Label"]: port.get("To") for port in network.get("DynamicPorts", ())}
        mounts = [(node["HostVolumes"][volumes[one["Volume"]]["Source"]], one) for one in row["VolumeMounts"] or ()]
        return cls(
            task=row["Name"],
            user=row["User"],
            cpu=asked["CPU"],
            memory_mb=max(asked["MemoryMaxMB"], asked["MemoryMB"]),
            ports={label: Port(host, inside.get(label) or host) for label, host in placement.ports.items()},
            mounts=tuple(Mount(volume["Path"], one["Destination"], one["ReadOnly"]) for volume, one in mounts),
            kill_signal=row["KillSignal"],
            log_files=logs["MaxFiles"],
            log_file_bytes=logs["MaxFileSizeMB"] * _MIB,
            **facts,
        )


class RunningTask(Protocol):
    """A started task."""

    async def wait(self) -> Exited:
        """Return once the task and everything it started are gone; called once."""

    async def stop(self) -> None:
        """Ask the task to end, and end it when its kill timeout has passed; does not wait for that."""


class Driver(Protocol):
    """Starts tasks."""

    capabilities: Capabilities

    async def start(self, spec: TaskSpec) -> RunningTask:
        """Start a task.

        Raises StartRefused: it did not start, and nothing of it is left.
        """

    async def close(self) -> None:
        """Give up what the driver holds, after its last task has ended."""
