"""Consul's side: services with their checks, and the key-value store.  No I/O."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rock_nomad.embedded.rows import DATACENTER, Row
from rock_nomad.embedded.watches import Watches

_SERVICES = "services"
_TOMBSTONES = 1_000  # deletions remembered, so that a watcher of a prefix sees its index grow


@dataclass(frozen=True)
class Check:
    """An HTTP check of an instance, and what it last said."""

    check_id: str
    name: str
    url: str
    interval: float  # seconds
    timeout: float  # seconds
    status: str = "critical"
    output: str = ""
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True)
class Instance:
    """One instance of a service."""

    instance_id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    create_index: int = 0

    @property
    def is_passing(self) -> bool:
        """No check is anything but passing."""
        return all(check.status == "passing" for check in self.checks)


@dataclass(frozen=True)
class Entry:
    """A key's value."""

    value: bytes
    flags: int
    create_index: int
    modify_index: int


class Catalog:
    """Services by name and keys by name, under one index."""

    def __init__(self, node_id: str, node_name: str) -> None:
        self.index = 10
        self.watches = Watches()
        self._node_id, self._node_name = node_id, node_name
        self._instances: dict[str, dict[str, Instance]] = {}  # by service name, then instance id
        self._service_index: dict[str, int] = {}
        self._services_index = self.index
        self._keys: dict[str, Entry] = {}
        self._tombstones: dict[str, int] = {}

    def register(self, instance: Instance) -> None:
        """Add an instance, with its checks at their initial status."""
        index = self._touch_service(instance.name)
        checks = tuple(replace(check, create_index=index, modify_index=index) for check in instance.checks)
        stored = replace(instance, checks=checks, create_index=index)
        self._instances.setdefault(instance.name, {})[instance.instance_id] = stored

    def deregister(self, instance: Instance) -> None:
        """Remove an instance; one that is not there is fine."""
        instances = self._instances.get(instance.name, {})
        if instances.pop(instance.instance_id, None) is None:
            return
        if not instances:
            del self._instances[instance.name]
        self._touch_service(instance.name)

    def report_check(self, instance: Instance, check_id: str, status: str, output: str) -> None:
        """A check's new result.  As Consul does, only a changed status is worth an index."""
        stored = self._instances.get(instance.name, {}).get(instance.instance_id)
        if stored is None or any(one.check_id == check_id and one.status == status for one in stored.checks):
            return
        index = self._touch_service(instance.name)
        checks = tuple(
            replace(one, status=status, output=output, modify_index=index) if one.check_id == check_id else one
            for one in stored.checks
        )
        self._instances[instance.name][instance.instance_id] = replace(stored, checks=checks)

    def service_index(self, name: str) -> int:
        """When a service last changed; 1 if there never was one of that name."""
        return self._service_index.get(name, 1)

    def services_index(self) -> int:
        """When any service last changed."""
        return self._services_index

    def health(self, name: str, *, passing: bool) -> list[Row]:
        """The instances of a service with node and checks, as `/v1/health/service` prints them."""
        instances = self._instances.get(name, {}).values()
        return [self._health_row(one) for one in instances if one.is_passing or not passing]

    def services(self) -> dict[str, list[str]]:
        """The names there are, with their tags."""
        names = {"consul": list[str]()}
        for name, instances in self._instances.items():
            names[name] = sorted({tag for one in instances.values() for tag in one.tags})
        return names

    def get(self, key: str) -> tuple[int, list[Row]]:
        """(index, the entry in a list or nothing) of a key."""
        entry = self._keys.get(key)
        index = entry.modify_index if entry else self._tombstones.get(key, self._missing_index())
        return index, [_entry_row(key, entry)] if entry else []

    def get_under(self, prefix: str) -> tuple[int, list[Row]]:
        """(index, entries) of every key that starts with the prefix."""
        return self._prefix_index(prefix), [_entry_row(key, self._keys[key]) for key in self._under(prefix)]

    def keys_under(self, prefix: str, separator: str) -> tuple[int, list[str]]:
        """(index, keys) under a prefix, cut after the first separator beyond it."""
        found: dict[str, None] = {}
        for key in self._under(prefix):
            cut = key.find(separator, len(prefix)) if separator else -1
            found[key if cut < 0 else key[: cut + len(separator)]] = None
        return self._prefix_index(prefix), list(found)

    def put(self, key: str, value: bytes, *, flags: int = 0, cas: int | None = None) -> bool:
        """Write a key; with `cas` only if its ModifyIndex is that (0: only if there is none)."""
        entry = self._keys.get(key)
        if cas is not None and cas != (entry.modify_index if entry else 0):
            return False
        self.index += 1
        self._keys[key] = Entry(value, flags, entry.create_index if entry else self.index, self.index)
        self._tombstones.pop(key, None)
        self._wake_key(key)
        return True

    def delete(self, key: str, *, recurse: bool = False, cas: int | None = None) -> bool:
        """Delete a key, or all under a prefix; with `cas` only if its ModifyIndex is that."""
        entry = self._keys.get(key)
        if cas is not None and cas != (entry.modify_index if entry else 0):
            return False
        self.index += 1
        for doomed in list(self._under(key)) if recurse else [key]:
            if self._keys.pop(doomed, None) is not None:
                self._bury(doomed)
        return True

    def _touch_service(self, name: str) -> int:
        self.index += 1
        self._service_index[name] = self._services_index = self.index
        self.watches.wake([_SERVICES, ("service", name)])
        return self.index

    def _under(self, prefix: str) -> Iterator[str]:
        return iter(sorted(key for key in self._keys if key.startswith(prefix)))

    def _bury(self, key: str) -> None:
        self._tombstones[key] = self.index
        if len(self._tombstones) > _TOMBSTONES:
            del self._tombstones[next(iter(self._tombstones))]
        self._wake_key(key)

    def _wake_key(self, key: str) -> None:
        prefixes = [one for one in self.watches.waited() if isinstance(one, tuple) and one[0] == "prefix"]
        self.watches.wake([("key", key), *(one for one in prefixes if key.startswith(one[1]))])

    def _prefix_index(self, prefix: str) -> int:
        indexes = [self._keys[key].modify_index for key in self._under(prefix)]
        indexes += [index for key, index in self._tombstones.items() if key.startswith(prefix)]
        return max(indexes, default=self._missing_index())

    def _missing_index(self) -> int:
        # Stable while the key is missing, so that a waiter for it sleeps through everybody else's writes.
        return 1

    def _health_row(self, instance: Instance) -> Row:
        address = {"Address": instance.address, "Port": instance.port}
        checks = [self._node_check(), *(self._check_row(instance, check) for check in instance.checks)]
        return {
            "Node": {
                "ID": self._node_id, "Node": self._node_name, "Address": "127.0.0.1", "Datacenter": DATACENTER,
                "TaggedAddresses": dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), "127.0.0.1"),
                "Meta": {"consul-network-segment": ""}, "CreateIndex": 5, "ModifyIndex": 7,
            },
            "Service": {
                "ID": instance.instance_id, "Service": instance.name, "Tags": list(instance.tags),
                "Address": instance.address, "TaggedAddresses": {"lan_ipv4": address, "wan_ipv4": address},
                "Meta": instance.meta, "Port": instance.port, "Weights": {"Passing": 1, "Warning": 1},
                "EnableTagOverride": False, "Proxy": {"MeshGateway": {}, "Expose": {}}, "Connect": {},
                "CreateIndex": instance.create_index, "ModifyIndex": instance.create_index,
            },
            "Checks": checks,
        }  # fmt: skip

    def _node_check(self) -> Row:
        return {
            "Node": self._node_name, "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing",
            "Notes": "", "Output": "Agent alive and reachable", "ServiceID": "", "ServiceName": "", "ServiceTags": [],
            "Type": "", "Definition": {}, "CreateIndex": 5, "ModifyIndex": 5,
        }  # fmt: skip

    def _check_row(self, instance: Instance, check: Check) -> Row:
        return {
            "Node": self._node_name, "CheckID": check.check_id, "Name": check.name, "Status": check.status,
            "Notes": "", "Output": check.output, "ServiceID": instance.instance_id, "ServiceName": instance.name,
            "ServiceTags": list(instance.tags), "Type": "http", "Definition": {}, "CreateIndex": check.create_index,
            "ModifyIndex": check.modify_index,
        }  # fmt: skip


def _entry_row(key: str, entry: Entry) -> Row:
    return {
        "LockIndex": 0, "Key": key, "Flags": entry.flags,
        "Value": base64.b64encode(entry.value).decode() if entry.value else None, "CreateIndex": entry.create_index,
        "ModifyIndex": entry.modify_index,
    }  # fmt: skip
