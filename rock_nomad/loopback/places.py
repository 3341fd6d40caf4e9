"""Where a cluster lives: a folder and a range of ports of its own, held by a lock for as long as its owner lives."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from rock.wire.errors import BadRequestRockError
from rock_nomad.loopback.leftovers import sweep

__all__ = ["Place", "claim_place"]

ROOT = Path("/var/lib/rock-nomad")
"""Root's alone to write: names in it can be known beforehand without harm."""

PLACES = 20
"""Clusters that one machine can hold at a time."""

_FIRST_PORT, _PORTS = 10_000, 500
"""Below those that Nomad gives to tasks of its own accord (20,000 to 32,000), so that clusters never meet."""
_AGENTS_PORTS = 60
"""Of each range, for the agents themselves; nodes share the rest."""


class Place(NamedTuple):
    """A folder, and the first port of a range."""

    folder: Path
    first_port: int

    def port(self, number: int) -> int:
        """A port for an agent."""
        if number >= _AGENTS_PORTS:
            raise BadRequestRockError(f"so many agents have no ports on one machine; ask for fewer nodes: {number}")
        return self.first_port + number

    def task_ports(self, node: int, nodes: int) -> tuple[int, int]:
        """The first and the last port that a node gives to tasks: all nodes share one address."""
        share = (_PORTS - _AGENTS_PORTS) // nodes
        first = self.first_port + _AGENTS_PORTS + node * share
        return first, first + share - 1


@contextmanager
def claim_place(root: Path = ROOT) -> Iterator[Place]:
    """A place that is nobody's, empty; what owners that are no more left in theirs is removed on the way.

    Raises BadRequestRockError: all are taken.
    """
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    # Locks on its bytes belong to this process: the kernel gives them back when it ends, however that ends.
    with (root / "places.lock").open("wb") as locks:
        claimed: int | None = None
        for number in range(PLACES):
            if _lock(locks, number):
                sweep(_folder(root, number))
                if claimed is None:
                    claimed = number
                else:
                    fcntl.lockf(locks, fcntl.LOCK_UN, 1, number)
        if claimed is None:
            raise BadRequestRockError(f"{PLACES} clusters run on this machine already; stop one")
        folder = _folder(root, claimed)
        folder.mkdir(mode=0o711)
        try:
            yield Place(folder, _FIRST_PORT + claimed * _PORTS)
        finally:
            sweep(folder)


def _folder(root: Path, number: int) -> Path:
    return root / f"real-{number}"


def _lock(locks: IO[bytes], number: int) -> bool:
    try:
        fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except BlockingIOError:
        return False
    return True
