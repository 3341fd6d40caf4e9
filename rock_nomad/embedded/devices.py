"""Simulated GPUs, and which group of a node's devices answers a request.  Pure."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rock_nomad.embedded.constraints import Attribute, device_is_met, parse_attribute
from rock_nomad.embedded.rows import Row

# Memory of the models people name most, in MiB, as their drivers report it; other models must say it.
_MODEL_MEMORY_MIB = {
    "NVIDIA H100 80GB HBM3": 81559, "NVIDIA H200": 143771, "NVIDIA A100-SXM4-80GB": 81920, "NVIDIA A10G": 23028,
    "NVIDIA L4": 23034, "NVIDIA L40S": 46068, "Tesla T4": 15360,
}  # fmt: skip
_DEFAULT_MEMORY_MIB = 24576


@dataclass(frozen=True)
class DeviceRequest:
    """Devices a task asks for: `count` of one group whose id matches `name` and that meets the constraints."""

    name: str
    count: int
    constraints: tuple[tuple[str, str, str], ...]  # (left target, operand, right target)

    @classmethod
    def from_row(cls, row: Row) -> "DeviceRequest":
        """The request in a canonical job's `Resources.Devices`."""
        return cls(row["Name"], row["Count"], constraint_triples(row["Constraints"]))


def constraint_triples(rows: Iterable[Row] | None) -> tuple[tuple[str, str, str], ...]:
    """(left target, operand, right target) of each constraint."""
    return tuple((row.get("LTarget") or "", row.get("Operand") or "=", row.get("RTarget") or "") for row in rows or ())


def simulate_gpus(text: str, node_id: str) -> list[Row]:
    """Device groups of `MODEL:COUNT[:MIB],...`, in the shape of a node's `NodeResources.Devices`.

    Raises ValueError: says what is wrong with the text.
    """
    groups: list[Row] = []
    for number, part in enumerate(filter(None, (part.strip() for part in text.split(",")))):
        model, _, rest = part.partition(":")
        count, _, memory = rest.partition(":")
        if not model or not count.isdigit() or int(count) < 1 or (memory and not memory.isdigit()):
            raise ValueError(f"simulated GPUs are MODEL:COUNT[:MIB], separated by commas; got {part!r}")
        memory_mib = int(memory) if memory else _MODEL_MEMORY_MIB.get(model, _DEFAULT_MEMORY_MIB)
        groups.append(_gpu_group(model, int(count), memory_mib, number=number, node_id=node_id))
    return groups


def matching_groups(groups: Iterable[Row], request: DeviceRequest) -> list[Row]:
    """The groups a request could be met from, were they free."""
    return [group for group in groups if _is_named(group, request.name) and _meets(group, request.constraints)]


def group_id(group: Row) -> str:
    """`vendor/type/model`: what an allocation's devices are booked under."""
    return f"{group['Vendor']}/{group['Type']}/{group['Name']}"


def _gpu_group(model: str, count: int, memory_mib: int, *, number: int, node_id: str) -> Row:
    attributes = {
        "memory": f"{memory_mib} MiB", "cores_clock": "1980 MHz", "power": "700 W", "compute": "9.0", "mig": "false",
        "driver_version": "570.124.06",
    }  # fmt: skip
    return {
        "Attributes": {name: parse_attribute(value) for name, value in attributes.items()},
        "Instances": [
            {
                "HealthDescription": "", "Healthy": True,
                "ID": f"GPU-{uuid.uuid5(uuid.UUID(node_id), f'{model}/{number}/{index}')}",
                "Locality": {"PciBusID": f"00000000:{number * 16 + index:02X}:00.0"},
            }
            for index in range(count)
        ],
        "Name": model, "Type": "gpu", "Vendor": "nvidia",
    }  # fmt: skip


def _is_named(group: Row, name: str) -> bool:
    parts = name.split("/", 2)
    return parts in ([group["Type"]], [group["Vendor"], group["Type"]], [group["Vendor"], group["Type"], group["Name"]])


def _meets(group: Row, constraints: Iterable[tuple[str, str, str]]) -> bool:
    return all(
        device_is_met(operand, _resolve(group, left), _resolve(group, right)) for left, operand, right in constraints
    )


_TARGETS: Mapping[str, Callable[[Row], str]] = {
    "${device.vendor}": lambda group: str(group["Vendor"]),
    "${device.type}": lambda group: str(group["Type"]),
    "${device.model}": lambda group: str(group["Name"]),
    "${device.ids}": lambda group: ",".join(instance["ID"] for instance in group["Instances"]),
}


def _resolve(group: Row, target: str) -> Attribute | None:
    if target in _TARGETS:
        return {"Bool": None, "Float": None, "Int": None, "String": _TARGETS[target](group), "Unit": ""}
    if target.startswith("${device.attr.") and target.endswith("}"):
        attribute: Attribute | None = group["Attributes"].get(target.removeprefix("${device.attr.").removesuffix("}"))
        return attribute
    return parse_attribute(target)
