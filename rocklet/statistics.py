"""How much of what it may use a sandbox uses: by its cgroup's word, and by the machine's where it has none."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from rock.wire.monitoring import Statistics
from rocklet.cgroups import Cgroup

__all__ = ["Usage"]


class Usage:
    """Remembers what was used at the last reading; of CPUs only what was used since can be told."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup
        self._at, self._cpu_seconds = time.monotonic(), self._read_cpu_seconds()

    def read(self, home: str) -> Statistics:
        """What is used now, and of the CPUs since the last reading, or the beginning."""
        at, cpu_seconds = time.monotonic(), self._read_cpu_seconds()
        span, used = at - self._at, cpu_seconds - self._cpu_seconds
        self._at, self._cpu_seconds = at, cpu_seconds
        disk = shutil.disk_usage(home)
        return Statistics(
            cpu_percent=_percent(used, span * self._cpus()),
            memory_percent=_percent(*self._memory()),
            disk_percent=_percent(disk.used, disk.used + disk.free),
            network_bytes=_network_bytes(),
        )

    def _read_cpu_seconds(self) -> float:
        said = self._cgroup.read("cpuacct", v1="cpuacct.usage", v2="cpu.stat")
        if said is None:
            return sum(os.times()[:4])  # its own, and those of children that have ended
        in_v2 = re.search(r"^usage_usec (\d+)$", said, re.MULTILINE)
        return int(in_v2[1]) / 1e6 if in_v2 else int(said) / 1e9

    def _cpus(self) -> float:
        """How many CPUs it may use."""
        there = float(len(os.sched_getaffinity(0)))
        said = self._cgroup.read("cpu", v1="cpu.cfs_quota_us", v2="cpu.max") or ""
        # The quota, and in the second hierarchy its period behind it; "max" and -1 are no limit.
        quota, *period = [*said.split(), ""]
        if not quota.isdigit():
            return there
        per = period[0] or self._cgroup.read("cpu", v1="cpu.cfs_period_us", v2="cpu.max") or "0"
        return min(int(quota) / int(per), there) if int(per) else there

    def _memory(self) -> tuple[int, int]:
        """Bytes in use, and how many may be."""
        said = re.findall(r"^(\w+): +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        machine = {name: int(kilobytes) * 1024 for name, kilobytes in said}
        total = machine["MemTotal"]
        used = self._cgroup.read("memory", v1="memory.usage_in_bytes", v2="memory.current")
        limit = self._cgroup.read("memory", v1="memory.limit_in_bytes", v2="memory.max")
        if used is None or limit is None:
            return total - machine["MemAvailable"], total
        return int(used), min(int(limit), total) if limit.strip().isdigit() else total


def _percent(part: float, whole: float) -> float:
    return round(min(max(100 * part / whole, 0.0), 100.0), 2) if whole > 0 else 0.0


def _network_bytes() -> int:
    """Received and sent, on every interface but the loopback."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    rows = (line.split(":", 1) for line in lines)
    return sum(int(said.split()[0]) + int(said.split()[8]) for name, said in rows if name.strip() != "lo")
