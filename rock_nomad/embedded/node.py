"""The one node: this machine as Nomad's client would describe it.  Reads /proc and the disk once."""

import os
import platform
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from rock_nomad.embedded.drivers.driver import Capabilities
from rock_nomad.embedded.rows import DATACENTER, NODE_POOL, Row
from rock_nomad.embedded.state import now
from rock_nomad.embedded.units import SECOND, format_time

VERSION = "rock-nomad-embedded"
CONSUL_VERSION = "1.8.7"  # whose answers are imitated; jobs with services ask for >= 1.8.0
_MIB = 1024 * 1024
_SHARES_PER_CORE = 1000
_PORTS = (20000, 32000)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def describe_node(  # noqa: PLR0913 - each a fact of its own
    address: str,
    data_dir: Path,
    drivers: dict[str, Capabilities],
    devices: list[Row] | None,
    node_id: uuid.UUID,
    host_volumes: Mapping[str, Path],
) -> Row:
    """The node's row; `address` is where the Nomad API listens, `host_volumes` what jobs may mount, to read."""
    cores = len(os.sched_getaffinity(0))
    disk = shutil.disk_usage(data_dir)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    at = now()
    return {
        "Attributes": _attributes(address, cores, memory, disk.total) | _driver_attributes(drivers),
        "CSIControllerPlugins": {}, "CSINodePlugins": {}, "CgroupParent": "nomad.slice",
        "ComputedClass": f"v1:{node_id.int % 2**64}", "Datacenter": DATACENTER, "Drain": False, "DrainStrategy": None,
        "Drivers": {name: _driver_row(name, one, format_time(at)) for name, one in drivers.items()},
        "Events": [{
            "CreateIndex": 0, "Details": None, "Message": "Node registered", "Subsystem": "Cluster",
            "Timestamp": format_time(at // SECOND * SECOND),
        }],
        "GCVolumesOnNodeGC": False, "HTTPAddr": address, "HostNetworks": None, "HostVolumes": {
            name: {"ID": "", "Name": name, "Path": str(path), "ReadOnly": True} for name, path in host_volumes.items()
        }, "ID": str(node_id),
        "IdentitySigningKeyID": str(uuid.uuid4()), "LastAllocUpdateIndex": 0, "LastDrain": None,
        "LastMissedHeartbeatIndex": 0, "Links": {"consul": f"{DATACENTER}.{platform.node()}"}, "Meta": {},
        "Name": platform.node(), "NodeClass": "", "NodeMaxAllocs": 0, "NodePool": NODE_POOL,
        "NodeResources": _resources(cores, memory // _MIB, disk.free // _MIB, devices),
        "ReservedResources": {
            "Cpu": {"CpuShares": 0, "ReservedCpuCores": None}, "Disk": {"DiskMB": 0}, "Memory": {"MemoryMB": 0},
            "Networks": {"ReservedHostPorts": ""},
        },
        "SchedulingEligibility": "eligible", "SecretID": "", "Status": "ready", "StatusDescription": "",
        "StatusUpdatedAt": at // SECOND, "TLSEnabled": False,
    }  # fmt: skip


def _attributes(address: str, cores: int, memory: int, disk: int) -> dict[str, str]:
    name, shares = platform.node(), str(cores * _SHARES_PER_CORE)
    return {
        "consul.datacenter": DATACENTER, "consul.version": CONSUL_VERSION, "cpu.arch": _architecture(),
        "cpu.numcores": str(cores), "cpu.reservablecores": str(cores), "cpu.totalcompute": shares,
        "cpu.usablecompute": shares, "kernel.arch": platform.machine(), "kernel.name": "linux",
        "kernel.version": platform.release(), "memory.totalbytes": str(memory), "nomad.version": VERSION,
        "os.cgroups.version": "2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "1",
        "unique.advertise.address": address, "unique.consul.name": name, "unique.hostname": name,
        "unique.network.ip-address": "127.0.0.1", "unique.storage.bytestotal": str(disk),
    }  # fmt: skip


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def _driver_attributes(drivers: dict[str, Capabilities]) -> dict[str, str]:
    return {key: value for capabilities in drivers.values() for key, value in capabilities.attributes.items()}


def _driver_row(name: str, capabilities: Capabilities, at: str) -> Row:
    return {
        "Attributes": {**capabilities.attributes, f"driver.{name}": "true"},
        "Detected": True, "HealthDescription": "Healthy", "Healthy": True,
        "UpdateTime": at,
    }  # fmt: skip


def _resources(cores: int, memory_mb: int, disk_mb: int, devices: list[Row] | None) -> Row:
    core_row = {"Disable": False, "Grade": True, "GuessSpeed": 0, "MaxSpeed": 0, "NodeID": 0, "SocketID": 0}
    return {
        "Cpu": {
            "CpuShares": cores * _SHARES_PER_CORE, "ReservableCpuCores": list(range(cores)), "TotalCpuCores": cores,
        },
        "Devices": devices,
        "Disk": {"DiskMB": disk_mb}, "MaxDynamicPort": _PORTS[1], "Memory": {"MemoryMB": memory_mb},
        "MinDynamicPort": _PORTS[0],
        "Networks": [{"CIDR": "127.0.0.1/32", "Device": "lo", "IP": "127.0.0.1", "MBits": 1000, "Mode": "host"}],
        "NodeNetworks": [{
            "Addresses": [{
                "Address": "127.0.0.1", "Alias": "default", "Family": "ipv4", "Gateway": "", "ReservedPorts": "",
            }],
            "Device": "lo", "MacAddress": "", "Mode": "host", "Speed": 1000,
        }],
        "Processors": {"Topology": {
            "Cores": [{**core_row, "BaseSpeed": _SHARES_PER_CORE, "ID": n} for n in range(cores)], "Distances": None,
            "Nodes": [0], "OverrideTotalCompute": 0, "OverrideWitholdCompute": 0,
        }},
    }  # fmt: skip
