from __future__ import annotations

import time
from pathlib import Path

import pytest

from rock.wire.operations import GET_STATISTICS
from rocklet.cgroups import Cgroup
from rocklet.statistics import Usage
from tests.rocklet.callers import Caller

V1 = {
    "own": "1:cpu,cpuacct:/\n2:memory:/", "cpuacct/cpuacct.usage": "5000000000", "cpu/cpu.cfs_quota_us": "50000",
    "cpu/cpu.cfs_period_us": "100000", "memory/memory.usage_in_bytes": "268435456",
    "memory/memory.limit_in_bytes": "1073741824",
}  # fmt: skip
V2 = {
    "own": "0::/", "cpu.stat": "usage_usec 5000000\nuser_usec 1", "cpu.max": "50000 100000",
    "memory.current": "268435456", "memory.max": "1073741824",
}  # fmt: skip
UNLIMITED = {**V2, "cpu.max": "max 100000", "memory.max": "max"}


def cgroup(folder: Path, files: dict[str, str]) -> Cgroup:
    """A cgroup made of files."""
    for name, said in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(said)
    return Cgroup(folder / "own", folder)


@pytest.mark.parametrize("files", [V1, V2])
def test_a_cgroups_use_is_a_share_of_its_limits(files: dict[str, str], tmp_path: Path) -> None:
    used = Usage(cgroup(tmp_path, files)).read(str(tmp_path))
    assert (used.cpu_percent, used.memory_percent) == (0.0, 25.0)
    assert 0 < used.disk_percent <= 100
    assert used.network_bytes >= 0


def test_without_limits_it_is_a_share_of_the_machine(tmp_path: Path) -> None:
    used = Usage(cgroup(tmp_path, UNLIMITED)).read(str(tmp_path))
    assert 0 < used.memory_percent < 25


@pytest.mark.parametrize(
    ("files", "later"),
    [(V1, {"cpuacct/cpuacct.usage": "9000000000"}), (V2, {"cpu.stat": "usage_usec 9000000"})],
)
def test_cpus_are_told_for_the_time_since_the_last_reading(
    files: dict[str, str], later: dict[str, str], tmp_path: Path
) -> None:
    usage = Usage(cgroup(tmp_path, files))
    cgroup(tmp_path, {**files, **later})
    assert usage.read(str(tmp_path)).cpu_percent == 100.0
    assert usage.read(str(tmp_path)).cpu_percent == 0.0


def test_without_a_cgroup_it_is_the_machines_word(tmp_path: Path) -> None:
    usage = Usage(Cgroup(tmp_path / "none"))
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    used = usage.read(str(tmp_path))
    assert used.cpu_percent > 0
    assert 0 < used.memory_percent < 100


async def test_it_is_asked_for_without_renewing_the_idle_clock(caller: Caller) -> None:
    assert not GET_STATISTICS.renews
    assert 0 < (await caller.call(GET_STATISTICS)).memory_percent <= 100
