"""The load generator: calls by one or many sessions, in rounds, in each of which the subjects take many turns.

A machine that is noisy for a while is then noisy for all, and a ratio of two subjects in one round means something.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["ROUNDS", "Measured", "Quantity", "Round", "Subject", "measure"]

ROUNDS = 5

_TURNS = 10  # of each subject in a round
_TOO_SLOW = 10  # times a round's seconds
_ROUND_SECONDS = 1.0  # after which a round begins no further call, however few it has made

Quantity = Callable[["Round"], float]
"""What is read of a round, such as its `p50`."""


async def _nothing(session: int) -> None:
    pass


def _unknown() -> float:
    return float("nan")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something that can be called again and again."""

    name: str
    call: Callable[[int], Awaitable[object]]
    """What is timed.  It is told the number of the session that calls, from 0; a session has one call at a time."""
    undo: Callable[[int], Awaitable[object]] = _nothing
    """What has to follow each call, untimed, before the next one."""
    server_cpu: Callable[[], float] = _unknown
    """Seconds of CPU that the other side has used so far; NaN where nobody can tell."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a subject's calls cost in one round; seconds, but for the rate."""

    times: Sequence[float] = field(repr=False)
    """Of each call, shortest first."""
    rate: float
    """Calls per second, by all sessions together."""
    client_cpu: float
    """Of this process, per call."""
    server_cpu: float
    """Of the other side, per call; NaN where nobody can tell."""

    @property
    def p10(self) -> float:
        """The call that nine in ten exceed: what a busy machine leaves of a quiet one's median."""
        return self.times[len(self.times) // 10]

    @property
    def p50(self) -> float:
        """The median call."""
        return statistics.median(self.times)

    @property
    def p99(self) -> float:
        """The call that one in a hundred exceeds; with fewer than a hundred, the longest."""
        return self.times[min(int(0.99 * len(self.times)), len(self.times) - 1)]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A subject's rounds."""

    name: str
    rounds: Sequence[Round]

    def median(self, quantity: Quantity) -> float:
        """Of the rounds."""
        return statistics.median(map(quantity, self.rounds))

    def mean(self, quantity: Quantity) -> float:
        """Of the rounds: for CPU, which the kernel counts in ticks of 10 ms."""
        return statistics.fmean(map(quantity, self.rounds))

    def spread(self, quantity: Quantity) -> tuple[float, float]:
        """The smallest and the largest of the rounds: how far this machine can be trusted."""
        values = sorted(map(quantity, self.rounds))
        return values[0], values[-1]


async def measure(
    subjects: Sequence[Subject],
    *,
    calls: int,
    sessions: int = 1,
    rounds: int = ROUNDS,
    round_seconds: float = _ROUND_SECONDS,
) -> list[Measured]:
    """Call each subject `calls` times in each round, by so many sessions at once; fewer where that takes too long.

    Each session calls at least once in a round, and once before all, uncounted: that opens a connection.  Where those
    first calls take ten times what a round may, they are the subject's only round.  No two subjects have one name.

    Raises what a call raises.
    """
    found: dict[str, list[Round]] = {subject.name: [] for subject in subjects}
    players = []
    for subject in subjects:
        first = _Tally(subject)
        await first.play(sessions, sessions, round_seconds)
        if first.seconds > _TOO_SLOW * round_seconds:
            found[subject.name].append(first.to_round())
        else:
            players.append(subject)
    for _ in range(rounds):
        for tally in await _play_round([_Tally(player) for player in players], calls, sessions, round_seconds):
            found[tally.subject.name].append(tally.to_round())
    return [Measured(name=name, rounds=its_rounds) for name, its_rounds in found.items()]


async def _play_round(tallies: list[_Tally], calls: int, sessions: int, round_seconds: float) -> list[_Tally]:
    """The same tallies, when each subject has had its turns."""
    turns = max(1, min(_TURNS, calls // sessions))
    for _ in range(turns):
        for tally in tallies:
            if tally.seconds < round_seconds:
                await tally.play(calls // turns, sessions, round_seconds / turns)
    return tallies


@dataclass
class _Tally:
    """A round of one subject, as it comes about in several turns."""

    subject: Subject
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float = 0.0

    async def play(self, calls: int, sessions: int, patience: float) -> None:
        """One turn.  Each session makes at least one call, and none begins another when `patience` seconds are over."""
        subject, to_come = self.subject, calls - sessions
        server_cpu = subject.server_cpu()
        begun, client_cpu = time.perf_counter(), time.process_time()

        async def use(session: int) -> None:
            nonlocal to_come
            while True:
                self.times.append(await _time(subject, session))
                if to_come <= 0 or time.perf_counter() - begun > patience:
                    return
                to_come -= 1

        try:
            async with asyncio.TaskGroup() as group:
                for session in range(sessions):
                    group.create_task(use(session), name=f"session {session} of {subject.name}")
        except BaseExceptionGroup as raised:
            raise raised.exceptions[0] from None  # the first fault of any session; the others were cancelled for it
        self.seconds += time.perf_counter() - begun
        self.client_cpu += time.process_time() - client_cpu
        self.server_cpu += subject.server_cpu() - server_cpu

    def to_round(self) -> Round:
        """What all turns make together."""
        count = len(self.times)
        return Round(
            times=sorted(self.times),
            rate=count / self.seconds,
            client_cpu=self.client_cpu / count,
            server_cpu=self.server_cpu / count,
        )


async def _time(subject: Subject, session: int) -> float:
    begun = time.perf_counter()
    try:
        await subject.call(session)
        return time.perf_counter() - begun
    finally:
        await subject.undo(session)
