"""Why a sandbox ended, and what the trainer should do about it: one table."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType

import msgspec

__all__ = ["REASONS", "Family", "Reason", "ReasonFacts"]


class Family(str, Enum):
    """What the caller does next about a failure."""

    BAD_REQUEST = "bad_request"
    """Fix the call: sending it again unchanged fails again."""

    INTERNAL = "internal"
    """Infrastructure: retry, or mask the episode.  Never a reward."""

    COMMAND = "command"
    """The command's own doing: part of the trajectory."""


class Reason(str, Enum):
    """Why a sandbox ended, or never began.  The values are wire."""

    IMPOSSIBLE = "impossible"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_DENIED = "image_denied"
    USER = "user"
    IDLE = "idle"
    LEASE = "lease"
    MAX_LIFETIME = "max_lifetime"
    NO_CAPACITY = "no_capacity"
    STARTUP_TIMEOUT = "startup_timeout"
    IMAGE_UNREACHABLE = "image_unreachable"
    DRIVER = "driver"
    NODE_LOST = "node_lost"
    PREEMPTED = "preempted"
    DRAINED = "drained"
    EXITED_EARLY = "exited_early"
    OOM = "oom"
    EXITED = "exited"


class ReasonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a reason, whichever sandbox it befell."""

    family: Family
    summary: str
    """What happened, as the start of a sentence about the sandbox."""
    remedy: str
    """What the caller can do about it."""


REASONS: MappingProxyType[Reason, ReasonFacts] = MappingProxyType(
    {
        Reason.IMPOSSIBLE: ReasonFacts(
            family=Family.BAD_REQUEST,
            summary="no node of this cluster could ever hold it",
            remedy="ask for less, or for what the message lists",
        ),
        Reason.IMAGE_NOT_FOUND: ReasonFacts(
            family=Family.BAD_REQUEST, summary="its image does not exist", remedy="correct the image's name or tag"
        ),
        Reason.IMAGE_DENIED: ReasonFacts(
            family=Family.BAD_REQUEST,
            summary="the registry refused its image",
            remedy="send the registry's user name and password",
        ),
        Reason.USER: ReasonFacts(
            family=Family.BAD_REQUEST, summary="it was stopped by request", remedy="start another one"
        ),
        Reason.IDLE: ReasonFacts(
            family=Family.BAD_REQUEST,
            summary="it was idle for longer than its idle timeout",
            remedy="raise idle_timeout (auto_clear_seconds), or act more often",
        ),
        Reason.LEASE: ReasonFacts(
            family=Family.BAD_REQUEST,
            summary="its lease was not renewed in time",
            remedy="renew the lease more often, or raise it",
        ),
        Reason.MAX_LIFETIME: ReasonFacts(
            family=Family.BAD_REQUEST, summary="it reached its maximum lifetime", remedy="raise max_lifetime"
        ),
        Reason.NO_CAPACITY: ReasonFacts(
            family=Family.INTERNAL,
            summary="no node had room for it before its startup timeout",
            remedy="retry later, or raise startup_timeout",
        ),
        Reason.STARTUP_TIMEOUT: ReasonFacts(
            family=Family.INTERNAL,
            summary="it did not start within its startup timeout",
            remedy="retry, or raise startup_timeout",
        ),
        Reason.IMAGE_UNREACHABLE: ReasonFacts(
            family=Family.INTERNAL, summary="the registry of its image could not be reached", remedy="retry"
        ),
        Reason.DRIVER: ReasonFacts(
            family=Family.INTERNAL,
            summary="the node's driver could not start it",
            remedy="retry; if it happens again, tell the cluster's operator",
        ),
        Reason.NODE_LOST: ReasonFacts(
            family=Family.INTERNAL, summary="the node it ran on was lost", remedy="start another one"
        ),
        Reason.PREEMPTED: ReasonFacts(
            family=Family.INTERNAL, summary="it gave way to a job of higher priority", remedy="start another one"
        ),
        Reason.DRAINED: ReasonFacts(
            family=Family.INTERNAL,
            summary="the node it ran on was drained, or an operator took it from there",
            remedy="start another one",
        ),
        Reason.EXITED_EARLY: ReasonFacts(
            family=Family.INTERNAL, summary="its rocklet exited before it was ready", remedy="retry"
        ),
        Reason.OOM: ReasonFacts(
            family=Family.COMMAND,
            summary="it used more memory than it had asked for",
            remedy="keep it in the trajectory, or raise memory",
        ),
        Reason.EXITED: ReasonFacts(
            family=Family.COMMAND,
            summary="its rocklet was ended from inside",
            remedy="keep it in the trajectory",
        ),
    }
)
