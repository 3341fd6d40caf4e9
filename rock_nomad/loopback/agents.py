"""One agent: a process that can be started, stopped, killed and started again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from rock_nomad.config import bare_environment

__all__ = ["Agent", "Command"]

_STOP_TIMEOUT = 20.0  # seconds
_LAST_WORDS = 2000  # characters of its log that tell why it ended


class Command(NamedTuple):
    """How an agent is started."""

    arguments: tuple[str, ...]
    log: Path
    tmp: Path


class Agent:
    """A process of Nomad's or Consul's."""

    def __init__(self, name: str, command: Command) -> None:
        self.name = name
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def find_process_id(self) -> int | None:
        """Its process; None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.find_process_id() is not None:
            return
        # Nomad refuses to start beside some variables of clouds; none is needed.
        environment = bare_environment(TMPDIR=str(self._command.tmp))
        with self._command.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for our owner, who tells us
            )

    def kill(self) -> None:
        """End it as a power cut does; a Nomad client's tasks live on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it as its operator does."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_words(self) -> str:
        """The end of its log."""
        return self._command.log.read_text(errors="replace")[-_LAST_WORDS:]
