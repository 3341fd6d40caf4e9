"""A sandbox's status as the error that says why it cannot be used."""

from __future__ import annotations

from rock.wire.errors import (
    NotReady,
    RockException,
    SandboxDied,
    SandboxEnded,
    SandboxNotFound,
    SandboxUnreachable,
    StartFailed,
)
from rock.wire.messages import SandboxStatus, State
from rock.wire.reasons import REASONS, Family

__all__ = ["not_found", "why_not"]

_BY_FAMILY: dict[Family, type[RockException]] = {
    Family.BAD_REQUEST: SandboxEnded,
    Family.INTERNAL: StartFailed,
    Family.COMMAND: SandboxDied,
}
"""What the caller does next, by the reason's family."""


def not_found(sandbox_id: str) -> SandboxNotFound:
    """For an id that Nomad does not know, or that is somebody else's: the two are told apart for nobody."""
    return SandboxNotFound(
        f"there is no sandbox {sandbox_id}: unknown, or ended longer ago than the cluster keeps",
        details={"sandbox_id": sandbox_id},
    )


def why_not(status: SandboxStatus) -> RockException:
    """The error for a caller who wants to use a sandbox in this state, and cannot."""
    details = {"sandbox_id": status.sandbox_id, "executed": "no"}
    if status.state is State.PENDING:
        said = status.message or "it is starting"
        return NotReady(f"sandbox {status.sandbox_id} is not ready: {said}; ask again", details=details)
    if status.state is State.RUNNING:
        message = f"the rocklet of sandbox {status.sandbox_id} cannot be reached, though Nomad says that it runs; retry"
        return SandboxUnreachable(message, details=details)
    if status.reason is None:
        return SandboxEnded(f"sandbox {status.sandbox_id} has ended; start another one", details=details)
    facts = REASONS[status.reason]
    said = status.message or facts.summary
    message = f"sandbox {status.sandbox_id} has ended: {said}; {facts.remedy}"
    return _BY_FAMILY[facts.family](message, reason=status.reason, details=details)
