"""Which way to send a call next, from what has come of it so far.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Literal

__all__ = ["Attempt", "Direct", "Outcome", "Way", "next_way"]

Direct = Literal["auto", "never", "always"]
"""Whether actions go straight to the rocklet: where it can be reached, never, or always."""


class Way(Enum):
    """Where a call can be sent."""

    DIRECT = "direct"
    """To the rocklet, at the address that is known."""
    RESOLVED = "resolved"
    """To the rocklet, at an address asked for anew."""
    GATEWAY = "gateway"


class Outcome(Enum):
    """How an attempt failed."""

    UNREACHABLE = "unreachable"
    """No connection: packets are dropped, or there is no route."""
    REFUSED = "refused"
    """No connection: the host is there, what was at this address is not."""
    LOST = "lost"
    """The connection broke after sending."""
    STALE = "stale"
    """Somebody else has this address now."""


Attempt = tuple[Way, Outcome]


def next_way(direct: Direct, *, can_reach: bool, is_known: bool, tried: Sequence[Attempt]) -> Way | None:
    """The next way to try; None when all are used up.

    `is_known`: there is an address of the rocklet; `can_reach`: its host has been reached directly before.  Each kind
    of failure is answered once: a lost connection by sending again (the rocklet joins what is in flight), a stale
    address by asking for the new one, or how the sandbox ended, all else by the gateway.
    """
    if direct == "never":
        return _at_gateway(tried)
    if not tried:
        if direct == "always":
            return Way.DIRECT if is_known else Way.RESOLVED
        return Way.DIRECT if is_known and can_reach else Way.GATEWAY
    way, outcome = tried[-1]
    if way is Way.GATEWAY:
        return _at_gateway(tried) or _instead_of_gateway(is_known=is_known, tried=tried)
    if outcome is Outcome.LOST and [each for _, each in tried].count(outcome) == 1:
        return Way.DIRECT
    must_be_there = direct == "always" and outcome is Outcome.LOST
    if (must_be_there or outcome in (Outcome.STALE, Outcome.REFUSED)) and not _has_tried(tried, Way.RESOLVED):
        return Way.RESOLVED
    return None if direct == "always" else _at_gateway(tried)


def _at_gateway(tried: Sequence[Attempt]) -> Way | None:
    """The gateway, and once more after a lost connection: another replica may answer."""
    outcomes = [outcome for way, outcome in tried if way is Way.GATEWAY]
    return Way.GATEWAY if not outcomes or outcomes == [Outcome.LOST] else None


def _instead_of_gateway(*, is_known: bool, tried: Sequence[Attempt]) -> Way | None:
    """No gateway answers; the rocklet may, though nobody has tried."""
    return Way.DIRECT if is_known and not _has_tried(tried, Way.DIRECT) else None


def _has_tried(tried: Sequence[Attempt], way: Way) -> bool:
    return any(each is way for each, _ in tried)
