"""Where the files of a task are, on the node and, if it has a file system of its own, in that.

Source: hashicorp/nomad client/allocdir.
"""

import os
from dataclasses import dataclass

OWN_FILES = ("/alloc", "/local", "/secrets")
"""Where a task with a file system of its own finds what it shares, what is its, and its secrets."""


@dataclass(frozen=True)
class TaskDirectories:
    """Where an allocation's files live, laid out as Nomad does."""

    root: str  # the allocation's directory
    task: str  # the task's name

    @property
    def shared(self) -> str:
        """NOMAD_ALLOC_DIR: what the tasks of an allocation share, and their logs."""
        return f"{self.root}/alloc"

    @property
    def logs(self) -> str:
        """Where `<task>.stdout.0` and `<task>.stderr.0` are."""
        return f"{self.shared}/logs"

    @property
    def home(self) -> str:
        """The task's working directory."""
        return f"{self.root}/{self.task}"

    @property
    def local(self) -> str:
        """NOMAD_TASK_DIR."""
        return f"{self.home}/local"

    @property
    def secrets(self) -> str:
        """NOMAD_SECRETS_DIR."""
        return f"{self.home}/secrets"

    def all(self) -> tuple[str, ...]:
        """Every directory to create, parents first."""
        shared = (self.shared, self.logs, f"{self.shared}/data", f"{self.shared}/tmp")  # noqa: S108 - ours
        return (*shared, self.home, self.local, self.secrets, f"{self.home}/tmp", f"{self.home}/private")  # noqa: S108 - ours

    def make(self) -> None:
        """Create them; a directory that is there stays as it is."""
        for path in self.all():
            os.makedirs(path, exist_ok=True)
