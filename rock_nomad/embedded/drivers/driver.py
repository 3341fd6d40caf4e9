"""The seam between the client and what runs a task."""

from dataclasses import dataclass
from typing import Protocol

from rock_nomad.embedded.interpolation import TaskDirectories
from rock_nomad.embedded.lifecycle import Exited
from rock_nomad.embedded.rows import Row


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


@dataclass(frozen=True)
class TaskSpec:
    """A task with everything interpolated."""

    allocation_id: str
    task: str
    config: Row
    environment: dict[str, str]
    directories: TaskDirectories
    memory_mb: int
    kill_signal: str
    kill_timeout: float  # seconds
    log_files: int
    log_file_bytes: int


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
