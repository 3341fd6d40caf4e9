"""A node's devices as Nomad tells of them, and which group of them answers a request.  Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rock_nomad.device_plugin.devices import TYPE, VENDOR, DeviceGroup, Quantity
from rock_nomad.embedded.constraints import EMPTY_ATTRIBUTE, Attribute, device_is_met, parse_attribute
from rock_nomad.embedded.rows import Row


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


def device_rows(groups: Iterable[DeviceGroup]) -> list[Row] | None:
    """Devices in the shape of a node's `NodeResources.Devices`."""
    return [_group_row(group) for group in groups] or None


def matching_groups(groups: Iterable[Row], request: DeviceRequest) -> list[Row]:
    """The groups a request could be met from, were they free."""
    return [group for group in groups if _is_named(group, request.name) and _meets(group, request.constraints)]


def group_id(group: Row) -> str:
    """`vendor/type/model`: what an allocation's devices are booked under."""
    return f"{group['Vendor']}/{group['Type']}/{group['Name']}"


def _group_row(group: DeviceGroup) -> Row:
    return {
        "Attributes": {name: _attribute_row(value) for name, value in group.advertised_attributes().items()},
        "Instances": [
            {
                "HealthDescription": device.ailment, "Healthy": not device.ailment, "ID": device.id,
                "Locality": {"PciBusID": device.pci_bus_id},
            }
            for device in group.devices
        ],
        "Name": group.model, "Type": TYPE, "Vendor": VENDOR,
    }  # fmt: skip


def _attribute_row(quantity: Quantity) -> Attribute:
    kind = {bool: "Bool", float: "Float", int: "Int", str: "String"}[type(quantity.value)]
    return {**EMPTY_ATTRIBUTE, kind: quantity.value, "Unit": quantity.unit}


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
        return {**EMPTY_ATTRIBUTE, "String": _TARGETS[target](group)}
    if target.startswith("${device.attr.") and target.endswith("}"):
        attribute: Attribute | None = group["Attributes"].get(target.removeprefix("${device.attr.").removesuffix("}"))
        return attribute
    return parse_attribute(target)
