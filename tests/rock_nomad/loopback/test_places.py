from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rock.wire.errors import BadRequestRockError
from rock_nomad.loopback import places
from rock_nomad.loopback.places import Place, claim_place

# Claims a place, says which, and holds it until its stdin ends.
HOLDER = """
import sys
from pathlib import Path
from rock_nomad.loopback.places import claim_place
with claim_place(Path(sys.argv[1])) as place:
    (place.folder / "file").touch()
    print(place.first_port, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(root: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds a place, and the first port of that."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())


def test_a_place_is_empty_and_gone_afterwards(tmp_path: Path) -> None:
    with claim_place(tmp_path) as place:
        assert list(place.folder.iterdir()) == []
        (place.folder / "data").write_text("x")
    assert not place.folder.exists()


@pytest.mark.slow
def test_no_two_live_in_one_place(tmp_path: Path) -> None:
    with holder(tmp_path) as (_, first), holder(tmp_path) as (_, second), claim_place(tmp_path) as third:
        assert len({first, second, third.first_port}) == 3


@pytest.mark.slow
def test_what_a_killed_owner_left_is_swept_by_the_next(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, first):
        process.kill()
        process.wait()
        left = tmp_path / "real-0"
        assert left.exists()
        with claim_place(tmp_path) as place:
            assert (place.folder, place.first_port) == (left, first)
            assert not (left / "file").exists()


@pytest.mark.slow
def test_a_machine_that_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PLACES", 1)
    with (
        holder(tmp_path),
        pytest.raises(BadRequestRockError, match="run on this machine already; stop one"),
        claim_place(tmp_path),
    ):
        pass


def test_nodes_share_the_tasks_ports_and_never_meet() -> None:
    place, other = Place(Path("/a"), 10_000), Place(Path("/b"), 10_500)
    agents = place.port(59)
    ranges = [place.task_ports(node, 3) for node in range(3)]
    assert agents < ranges[0][0]
    assert all(first < last for first, last in ranges)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    assert ranges[-1][1] < other.port(0)
    with pytest.raises(BadRequestRockError, match="ask for fewer nodes"):
        place.port(60)
