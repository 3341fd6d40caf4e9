"""The GPUs of a node, as Nomad tells of them: how many, of which model, and which of them are sick.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rock_nomad.records import Row, integer, mapping, rows, text

__all__ = ["GpuGroup", "SickGpu", "gpu_groups"]

_MIB = 2**20
_UNITS_MIB = {"": 1 / _MIB, "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0, "TiB": 2.0**20}


class SickGpu(msgspec.Struct, frozen=True, kw_only=True):
    """One that Nomad gives to nobody."""

    id: str
    ailment: str
    """In the device plugin's words; empty if it has none."""


class GpuGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Those of one model on one node."""

    node_name: str
    model: str
    memory_mb: float
    """Of each; 0 if the plugin does not say."""
    count: int
    """Sick or well."""
    sick: Sequence[SickGpu]


def gpu_groups(node: Row, device: str) -> list[GpuGroup]:
    """What a device request's name means on a node: `type`, `vendor/type` or `vendor/type/model`."""
    devices = rows(mapping(node.get("NodeResources")).get("Devices"))
    return [_group(text(node.get("Name")), each) for each in devices if _is_named(each, device)]


def _is_named(device: Row, name: str) -> bool:
    vendor, kind, model = (text(device.get(key)) for key in ("Vendor", "Type", "Name"))
    return name in (kind, f"{vendor}/{kind}", f"{vendor}/{kind}/{model}")


def _group(node_name: str, device: Row) -> GpuGroup:
    instances = rows(device.get("Instances"))
    memory = mapping(mapping(device.get("Attributes")).get("memory"))
    return GpuGroup(
        node_name=node_name,
        model=text(device.get("Name")),
        memory_mb=integer(memory.get("Int")) * _UNITS_MIB.get(text(memory.get("Unit")), 1.0),
        count=len(instances),
        sick=[
            SickGpu(id=text(each.get("ID")), ailment=text(each.get("HealthDescription")))
            for each in instances
            if each.get("Healthy") is False
        ],
    )
