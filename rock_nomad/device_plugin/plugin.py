"""The plugin's answers to Nomad: what it is, what it can be told, its devices, reservations and statistics.

The Fingerprint stream neither ends nor fails while the agent listens, because Nomad would then drop all devices until
it is started anew.  Source: hashicorp/nomad client/devicemanager/instance.go.
"""

from __future__ import annotations

import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc

from rock_nomad.device_plugin import messages as m
from rock_nomad.device_plugin.config import BadConfig, Config, config_schema, read_config
from rock_nomad.device_plugin.devices import (
    TYPE,
    VENDOR,
    DeviceGroup,
    GroupStatistics,
    Hardware,
    Quantity,
    Statistic,
    Unreservable,
    reserve,
)
from rock_nomad.device_plugin.inventory import Inventory
from rock_nomad.device_plugin.nvidia import NvidiaHardware
from rock_nomad.device_plugin.protobuf import encode
from rock_nomad.device_plugin.sick_list import SickList
from rock_nomad.device_plugin.simulation import SimulatedHardware, parse_models

__all__ = ["NAME", "Plugin", "open_hardware"]

log = logging.getLogger(__name__)

NAME = "nomad-device-rock"
"""Of the plugin, and of the file that Nomad starts: Nomad wants them alike."""

_API_VERSIONS = ["v0.1.0"]  # of Nomad's interface for device plugins, not ours
_FIRST_LOOK = 10.0  # seconds; Nomad's client registers after the first answer, which it awaits for 50
_LOOK_AGAIN = 1.0  # seconds between two looks at whether the devices have been silent for too long


def open_hardware(config: Config) -> Hardware:
    """The hardware that a configuration names.  Opens nothing yet: a driver may come later."""
    if config.simulate:
        return SimulatedHardware(parse_models(config.simulate), Path(config.state_file) if config.state_file else None)
    return NvidiaHardware(SickList(Path(config.sick_file)), ignored=config.ignored_gpu_ids, recheck=config.recheck)


class Plugin:
    """What each call of Nomad's does."""

    def __init__(self, open_hardware: Callable[[Config], Hardware] = open_hardware) -> None:
        self.stopping = threading.Event()
        """Set once it is to end; `stop` sets it."""
        self._open_hardware = open_hardware
        self._config: Config | None = None
        self._inventory: Inventory | None = None

    def stop(self) -> None:
        """End the streams."""
        self.stopping.set()
        if self._inventory is not None:
            self._inventory.wake()

    def info(self, _request: m.Empty, _context: grpc.ServicerContext) -> m.PluginInfoResponse:
        """What this is."""
        version = importlib.metadata.version("rock-nomad")
        return m.PluginInfoResponse(
            type=m.DEVICE_PLUGIN, plugin_api_versions=_API_VERSIONS, plugin_version=f"v{version}", name=NAME
        )

    def schema(self, _request: m.Empty, _context: grpc.ServicerContext) -> m.ConfigSchemaResponse:
        """What it can be told."""
        return m.ConfigSchemaResponse(spec=config_schema())

    def configure(self, request: m.SetConfigRequest, context: grpc.ServicerContext) -> m.Empty:
        """Take the configuration, which may come several times.

        An error here keeps the agent from starting; so only what its operator must mend is one.
        """
        try:
            config = read_config(request.msgpack_config)
        except BadConfig as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{NAME}: {error}")
        if config != self._config:
            if self._inventory is not None:
                self._inventory.stop()
            self._inventory = Inventory(self._open_hardware(config), period=config.period, patience=config.patience)
        self._config = config
        return m.Empty()

    def fingerprint(self, _request: m.Empty, context: grpc.ServicerContext) -> Iterator[m.FingerprintResponse]:
        """All devices, again whenever something about them has changed."""
        inventory = self._opened(context)
        context.add_callback(inventory.wake)
        version, groups = inventory.wait_change(0, self._is_over(context), timeout=_FIRST_LOOK)
        told = _fingerprint(groups, m.FingerprintResponse())
        yield told  # even if there are none yet
        while not self._is_over(context)():
            found, groups = inventory.wait_change(version, self._is_over(context), timeout=_LOOK_AGAIN)
            if found != version:
                version, told = found, _fingerprint(groups, told)
                yield told

    def reserve(self, request: m.ReserveRequest, context: grpc.ServicerContext) -> m.ReserveResponse:
        """What a task needs to use its devices."""
        inventory = self._opened(context)
        # After a restart that failed, Nomad reserves without having asked for the devices.
        _, groups = inventory.wait_change(0, self._is_over(context), timeout=_FIRST_LOOK)
        try:
            reservation = reserve(groups, request.device_ids, inventory.hardware.variables)
        except Unreservable as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        log.info("reserved %s", ", ".join(request.device_ids))
        devices = [m.DeviceSpec(task_path=node, host_path=node, permissions="rw") for node in reservation.nodes]
        return m.ReserveResponse(container_res=m.ContainerReservation(envs=reservation.env, devices=devices))

    def statistics(self, request: m.StatsRequest, context: grpc.ServicerContext) -> Iterator[m.StatsResponse]:
        """What can be measured, as often as Nomad wants it."""
        hardware = self._opened(context).hardware
        asked = request.collection_interval or m.Time(seconds=1)
        over, trouble = threading.Event(), ""
        context.add_callback(over.set)
        while not self._is_over(context)():
            try:
                yield _statistics(hardware.statistics())
                trouble = ""
            except Exception as error:  # an error here would end the statistics for minutes
                if str(error) != trouble:
                    log.warning("no statistics: %s", error, exc_info=error)
                trouble = str(error)
            over.wait(asked.seconds + asked.nanos / 1e9)

    def _opened(self, context: grpc.ServicerContext) -> Inventory:
        if self._inventory is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{NAME} has not been configured")
        self._inventory.start()
        return self._inventory

    def _is_over(self, context: grpc.ServicerContext) -> Callable[[], bool]:
        return lambda: self.stopping.is_set() or not context.is_active()


# --------------------------------------------------------------------------------------------------- as messages


def _fingerprint(groups: list[DeviceGroup], otherwise: m.FingerprintResponse) -> m.FingerprintResponse:
    """The devices as Nomad is told them; what cannot be told must not end the stream."""
    try:
        told = m.FingerprintResponse(device_group=[_fingerprint_group(group) for group in groups])
        encode(told)
    except Exception as error:
        log.error("the devices cannot be told: %s", error, exc_info=error)  # noqa: TRY400 - the trace is there
        return otherwise
    return told


def _fingerprint_group(group: DeviceGroup) -> m.FingerprintGroup:
    return m.FingerprintGroup(
        vendor=VENDOR,
        device_type=TYPE,
        device_name=group.model,
        devices=[
            m.DetectedDevice(
                ID=device.id,
                healthy=not device.ailment,
                health_description=device.ailment,
                hw_locality=m.DeviceLocality(pci_bus_id=device.pci_bus_id),
            )
            for device in group.devices
        ],
        attributes={name: _attribute(quantity) for name, quantity in group.advertised_attributes().items()},
    )


def _attribute(quantity: Quantity) -> m.Attribute:
    value, unit = quantity.value, quantity.unit
    if isinstance(value, bool):
        return m.Attribute(bool_val=value)
    if isinstance(value, str):
        return m.Attribute(string_val=value)
    return m.Attribute(int_val=value, unit=unit) if isinstance(value, int) else m.Attribute(float_val=value, unit=unit)


def _statistics(measured: list[GroupStatistics]) -> m.StatsResponse:
    seconds, nanos = divmod(time.time_ns(), 10**9)
    now = m.Time(seconds=seconds, nanos=nanos)
    groups = [
        m.DeviceGroupStats(
            vendor=VENDOR,
            type=TYPE,
            name=group.model,
            instance_stats={id_: _device_statistics(values, now) for id_, values in group.devices.items()},
        )
        for group in measured
    ]
    return m.StatsResponse(groups=groups)


def _device_statistics(values: Mapping[str, Statistic], now: m.Time) -> m.DeviceStats:
    numbers = {name: _number(value) for name, value in values.items()}
    return m.DeviceStats(
        summary=numbers.get(GroupStatistics.SUMMARY), stats=m.StatObject(attributes=numbers), timestamp=now
    )


def _number(value: Statistic) -> m.StatValue:
    if isinstance(value.value, int) and (value.limit is None or isinstance(value.limit, int)):
        return m.StatValue(
            int_numerator_val=m.Int64Value(value=value.value),
            int_denominator_val=None if value.limit is None else m.Int64Value(value=value.limit),
            unit=value.unit,
            desc=value.description,
        )
    return m.StatValue(
        float_numerator_val=m.DoubleValue(value=value.value),
        float_denominator_val=None if value.limit is None else m.DoubleValue(value=value.limit),
        unit=value.unit,
        desc=value.description,
    )
