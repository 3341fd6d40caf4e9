from __future__ import annotations

from pathlib import Path

import pytest

from rocklet.cgroups import Cgroup


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("0::/", ["two", "two"]),
        ("0::/a/b", ["a/b/two", "two"]),
        ("4:cpu,memory:/a\n3:pids:/b", ["memory/a/one", "memory/one"]),
        ("3:pids:/b", []),
        ("1:name=systemd:/x\n2:memory:/with:colon", ["memory/with:colon/one", "memory/one"]),
    ],
)
def test_a_controllers_file_is_looked_for_in_its_hierarchy(said: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "own").write_text(f"{said}\n")
    found = Cgroup(tmp_path / "own", Path("/groups")).places("memory", v1="one", v2="two")
    assert found == [Path("/groups", place) for place in expected]


def test_what_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert Cgroup().read("memory", v1="nothing.of.that.name", v2="nothing.of.that.name") is None
    assert Cgroup(tmp_path / "none").read("memory", v1="memory.usage_in_bytes", v2="memory.current") is None


def test_what_is_there_is_read() -> None:
    said = Cgroup().read("memory", v1="memory.usage_in_bytes", v2="memory.current")
    if said is None:
        pytest.skip("no memory cgroup here")
    assert int(said) > 0
