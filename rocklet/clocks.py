"""When a sandbox ends by itself: idle, lifetime and lease.  Pure: the time comes in as an argument."""

from __future__ import annotations

import time

from rock.wire.messages import Clocks, RockletExit

__all__ = ["SandboxClocks", "read_clock"]


def read_clock() -> float:
    """Seconds on a clock that goes on while the machine sleeps and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SandboxClocks:
    """The three clocks.  Times are seconds on one clock, durations seconds.

    Idle runs from the end of the last action; an action in flight holds it.
    """

    def __init__(self, now: float, *, idle_timeout: float, max_lifetime: float, lease: float | None) -> None:
        self._started = now
        self._idle_timeout = idle_timeout
        self._max_lifetime = max_lifetime
        self._lease = lease
        self._idle_since = now
        self._renewed = now
        self.actions_in_flight = 0

    def begin_action(self) -> None:
        """An action that renews has come: the idle clock stands still."""
        self.actions_in_flight += 1

    def end_action(self, now: float) -> None:
        """It has ended: once there is none, the idle clock starts anew."""
        self.actions_in_flight -= 1
        self._idle_since = now

    def renew_idle(self, now: float) -> None:
        """Somebody has looked, and counts as an action that is over."""
        self._idle_since = now

    def renew_lease(self, now: float, lease: float | None) -> None:
        """The trainer is still there; None keeps the lease's length."""
        self._lease = lease if lease is not None else self._lease
        self._renewed = now

    @property
    def has_lease(self) -> bool:
        """Whether there is a lease to renew."""
        return self._lease is not None

    def deadlines(self) -> dict[RockletExit, float]:
        """When each clock that runs will end the sandbox."""
        deadlines = {RockletExit.MAX_LIFETIME: self._started + self._max_lifetime}
        if not self.actions_in_flight:
            deadlines[RockletExit.IDLE] = self._idle_since + self._idle_timeout
        if self._lease is not None:
            deadlines[RockletExit.LEASE] = self._renewed + self._lease
        return deadlines

    def next_deadline(self) -> float:
        """The first of them."""
        return min(self.deadlines().values())

    def expired(self, now: float) -> RockletExit | None:
        """The clock that has run out, the first if there are several; or None."""
        at, exit_code = min((at, exit_code) for exit_code, at in self.deadlines().items())
        return exit_code if at <= now else None

    def describe(self, now: float, *, sandbox_id: str, sessions: int, pid: int) -> Clocks:
        """The clocks as callers see them."""
        left = {exit_code: max(at - now, 0.0) for exit_code, at in self.deadlines().items()}
        return Clocks(
            sandbox_id=sandbox_id,
            uptime=now - self._started,
            idle_remaining=left.get(RockletExit.IDLE),
            max_lifetime_remaining=left[RockletExit.MAX_LIFETIME],
            lease_remaining=left.get(RockletExit.LEASE),
            actions_in_flight=self.actions_in_flight,
            sessions=sessions,
            pid=pid,
        )
