"""What a test needs of a cluster, as it says by `@pytest.mark.needs`: words for it, or `nodes=2`.

Nothing of a server is imported here: the client's own tests run without.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import pytest

__all__ = ["KINDS", "Kind", "Shape", "needs_of", "shapes_for"]

Kind = Literal["embedded", "real"]
KINDS: tuple[Kind, ...] = ("embedded", "real")


class Shape(NamedTuple):
    """What kind of cluster, and how large."""

    kind: Kind
    nodes: int = 1

    def __str__(self) -> str:
        return self.kind if self.nodes == 1 else f"{self.kind}-{self.nodes}-nodes"


def shapes_for(node: pytest.Item | pytest.Function) -> list[Shape]:
    """The clusters that a test is to run on."""
    mark = node.get_closest_marker("needs")
    nodes = mark.kwargs.get("nodes", 1) if mark else 1
    return [Shape(kind, nodes) for kind in KINDS if kind == "real" or not mark]


def needs_of(node: pytest.Item) -> str:
    """What only real servers have of what a test needs, in a word or two; empty: it can do without."""
    mark = node.get_closest_marker("needs")
    return ", ".join((*mark.args, *(f"{number} {what}" for what, number in mark.kwargs.items()))) if mark else ""
