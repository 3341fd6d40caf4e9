"""A node for tests that need one, of known size."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from rock_nomad.device_plugin.simulation import SimulatedHardware, parse_models
from rock_nomad.embedded.devices import device_rows
from rock_nomad.embedded.drivers.driver import Capabilities
from rock_nomad.embedded.jobs import canonicalize
from rock_nomad.embedded.node import describe_node

__all__ = ["canonical_job", "make_node"]

NODE_ID = uuid.UUID(int=7)


def make_node(*, cpu: int = 4000, memory: int = 8000, disk: int = 10000, gpus: str = "") -> dict[str, Any]:
    """A node of this size with the usual drivers."""
    names = ("mock_driver", "raw_exec")
    drivers = {name: Capabilities({f"driver.{name}": "1"}, needs_directories=False) for name in names}
    devices = device_rows(SimulatedHardware(parse_models(gpus)).groups())
    node = describe_node("127.0.0.1:4646", Path("/"), drivers, devices, NODE_ID, {})
    resources = node["NodeResources"]
    resources |= {"Cpu": {"CpuShares": cpu}, "Memory": {"MemoryMB": memory}, "Disk": {"DiskMB": disk}}
    return node


def canonical_job(job_id: str = "job", *, count: int = 1, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
    """A job as the server keeps it; `asked` are fields of its task's resources."""
    task = {"Name": "rocklet", "Driver": "mock_driver", "Config": {}, "Resources": asked}
    group = {"Name": "sandbox", "Count": count, "EphemeralDisk": {"SizeMB": 10}, "Tasks": [task]}
    return canonicalize({"ID": job_id, "Type": "batch", "TaskGroups": [group]})
