"""What whoever looks after a sandbox asks of it: its log, and how much it uses."""

from __future__ import annotations

from typing import Literal

import msgspec

from rock.wire.spec import Seconds

__all__ = ["ReadLogRequest", "Statistics"]


class ReadLogRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a sandbox's rocklet has written, as the reply's body; Nomad keeps it for a while after the sandbox's end."""

    stream: Literal["stdout", "stderr"] = "stderr"
    """The rocklet's own log is on stderr."""
    follow: bool = False
    """Go on with what it writes from now on, until the sandbox ends; in frames (`rock.wire.frames`), of which those on
    stdout are the log's bytes."""
    heartbeat: Seconds = 15.0
    """With `follow`: how long nothing is sent at most."""


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """How much a sandbox uses of what it may use; where it has no cgroup of its own, of what its machine has."""

    cpu_percent: float
    """Of its CPUs together, since this was asked before, or since its start."""
    memory_percent: float
    disk_percent: float
    """Of the file system that its home is on."""
    network_bytes: int
    """Received and sent."""
