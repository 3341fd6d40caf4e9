from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from rock_nomad.embedded.differences import fields_not_compared
from rock_nomad.embedded.drivers.driver import Capabilities
from rock_nomad.embedded.node import describe_node
from tests.rock_nomad.embedded import recordings
from tests.rock_nomad.embedded.recordings import compare


def test_a_node_reads_as_recorded_and_tells_this_machines_size(tmp_path: Path) -> None:
    drivers = {"mock_driver": Capabilities({"driver.mock_driver": "1"}, needs_directories=False)}
    node = describe_node("127.0.0.1:4646", tmp_path, drivers, None, uuid.UUID(int=1), {"rocklet": tmp_path})
    node |= {"CreateIndex": 1, "ModifyIndex": 1}  # the state's
    volumes = node.pop("HostVolumes")
    ignored = fields_not_compared("node") | {"HostVolumes"}
    assert compare(recordings.load("node"), node, ignore=ignored) == []
    resources = node["NodeResources"]
    assert resources["Cpu"]["CpuShares"] == 1000 * len(os.sched_getaffinity(0))
    assert resources["Memory"]["MemoryMB"] == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    assert resources["Disk"]["DiskMB"] <= shutil.disk_usage(tmp_path).total // 2**20
    assert node["Attributes"]["driver.mock_driver"] == "1"
    assert node["Drivers"]["mock_driver"]["Healthy"]
    assert node["NodeResources"]["Devices"] is None
    assert volumes["rocklet"]["Path"] == str(tmp_path)
