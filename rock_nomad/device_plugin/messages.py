"""The messages of Nomad's plugin protocols that a device plugin exchanges.

Source: hashicorp/nomad plugins/base/proto/base.proto, plugins/device/proto/device.proto,
plugins/shared/hclspec/hcl_spec.proto and plugins/shared/structs/proto/*.proto, at v2.0.5; field by field.
"""

from typing import Annotated

from rock_nomad.device_plugin.protobuf import Message
from rock_nomad.device_plugin.protobuf import Number as N

DEVICE_PLUGIN = 3
"""The `type` of a device plugin."""


class Empty(Message, frozen=True):
    """Nothing."""


class PluginInfoResponse(Message, frozen=True):
    """What a plugin is."""

    type: Annotated[int, N(1)] = 0
    plugin_api_versions: Annotated[list[str], N(2)] = []
    plugin_version: Annotated[str, N(3)] = ""
    name: Annotated[str, N(4)] = ""


# ------------------------------------------------------------------------------------------------ configuration


class Attr(Message, frozen=True):
    """An HCL attribute; `type` is an HCL type expression such as `list(string)`."""

    name: Annotated[str, N(1)] = ""
    type: Annotated[str, N(2)] = ""
    required: Annotated[bool, N(3)] = False


class Literal(Message, frozen=True):
    """A value as an HCL expression: texts carry their quotes."""

    value: Annotated[str, N(1)] = ""


class Default(Message, frozen=True):
    """What is there, or else a default."""

    primary: Annotated["Spec | None", N(1)] = None
    default: Annotated["Spec | None", N(2)] = None


class Object(Message, frozen=True):
    """A block's contents."""

    attributes: Annotated[dict[str, "Spec"], N(1)] = {}


class Spec(Message, frozen=True):
    """A piece of a configuration's schema: one of these."""

    object: Annotated[Object | None, N(1)] = None
    attr: Annotated[Attr | None, N(3)] = None
    default: Annotated[Default | None, N(9)] = None
    literal: Annotated[Literal | None, N(10)] = None


class ConfigSchemaResponse(Message, frozen=True):
    """What a plugin can be told."""

    spec: Annotated[Spec | None, N(1)] = None


class SetConfigRequest(Message, frozen=True):
    """What it is told: a map, in msgpack, with every key of the schema."""

    msgpack_config: Annotated[bytes, N(1)] = b""
    plugin_api_version: Annotated[str, N(3)] = ""


# ------------------------------------------------------------------------------------------------- fingerprints


class Attribute(Message, frozen=True):
    """An attribute of a group: one value, and for numbers a unit that Nomad knows."""

    float_val: Annotated[float | None, N(1)] = None
    int_val: Annotated[int | None, N(2)] = None
    string_val: Annotated[str | None, N(3)] = None
    bool_val: Annotated[bool | None, N(4)] = None
    unit: Annotated[str, N(5)] = ""


class DeviceLocality(Message, frozen=True):
    """Where a device sits."""

    pci_bus_id: Annotated[str, N(1)] = ""


class DetectedDevice(Message, frozen=True):
    """One device."""

    ID: Annotated[str, N(1)] = ""
    healthy: Annotated[bool, N(2)] = False
    health_description: Annotated[str, N(3)] = ""
    hw_locality: Annotated[DeviceLocality | None, N(4)] = None


class FingerprintGroup(Message, frozen=True):
    """Devices of one model."""

    vendor: Annotated[str, N(1)] = ""
    device_type: Annotated[str, N(2)] = ""
    device_name: Annotated[str, N(3)] = ""
    devices: Annotated[list[DetectedDevice], N(4)] = []
    attributes: Annotated[dict[str, Attribute], N(5)] = {}


class FingerprintResponse(Message, frozen=True):
    """All devices of the node."""

    device_group: Annotated[list[FingerprintGroup], N(1)] = []


# ------------------------------------------------------------------------------------------------- reservations


class ReserveRequest(Message, frozen=True):
    """The devices that a task is to have."""

    device_ids: Annotated[list[str], N(1)] = []


class DeviceSpec(Message, frozen=True):
    """A device node for a task; `permissions` are of cgroups: `rwm`."""

    task_path: Annotated[str, N(1)] = ""
    host_path: Annotated[str, N(2)] = ""
    permissions: Annotated[str, N(3)] = ""


class ContainerReservation(Message, frozen=True):
    """What a task needs to use them."""

    envs: Annotated[dict[str, str], N(1)] = {}
    devices: Annotated[list[DeviceSpec], N(3)] = []


class ReserveResponse(Message, frozen=True):
    """A reservation."""

    container_res: Annotated[ContainerReservation | None, N(1)] = None


# --------------------------------------------------------------------------------------------------- statistics


class Time(Message, frozen=True):
    """A Duration, or a Timestamp since 1970."""

    seconds: Annotated[int, N(1)] = 0
    nanos: Annotated[int, N(2)] = 0


class StatsRequest(Message, frozen=True):
    """How often statistics are wanted."""

    collection_interval: Annotated[Time | None, N(1)] = None


class DoubleValue(Message, frozen=True):
    """A float that may be absent."""

    value: Annotated[float, N(1)] = 0.0


class Int64Value(Message, frozen=True):
    """An integer that may be absent."""

    value: Annotated[int, N(1)] = 0


class StatValue(Message, frozen=True):
    """A number, perhaps out of another; any unit will do."""

    float_numerator_val: Annotated[DoubleValue | None, N(1)] = None
    float_denominator_val: Annotated[DoubleValue | None, N(2)] = None
    int_numerator_val: Annotated[Int64Value | None, N(3)] = None
    int_denominator_val: Annotated[Int64Value | None, N(4)] = None
    unit: Annotated[str, N(7)] = ""
    desc: Annotated[str, N(8)] = ""


class StatObject(Message, frozen=True):
    """Numbers by name."""

    attributes: Annotated[dict[str, StatValue], N(2)] = {}


class DeviceStats(Message, frozen=True):
    """One device's numbers."""

    summary: Annotated[StatValue | None, N(1)] = None
    stats: Annotated[StatObject | None, N(2)] = None
    timestamp: Annotated[Time | None, N(3)] = None


class DeviceGroupStats(Message, frozen=True):
    """Those of one model's devices, by id."""

    vendor: Annotated[str, N(1)] = ""
    type: Annotated[str, N(2)] = ""
    name: Annotated[str, N(3)] = ""
    instance_stats: Annotated[dict[str, DeviceStats], N(4)] = {}


class StatsResponse(Message, frozen=True):
    """Those of all devices."""

    groups: Annotated[list[DeviceGroupStats], N(1)] = []
