from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rock_nomad.embedded.devices import DeviceRequest
from rock_nomad.embedded.jobs import canonicalize
from rock_nomad.embedded.placement import Placement, Refusal, Request, Usage, place, resolve_target
from tests.rock_nomad.embedded.nodes import canonical_job, make_node

NODE = make_node(gpus="NVIDIA H100 80GB HBM3:4,NVIDIA A10G:4")
NODE["HostVolumes"] = {"rocklet": {"Name": "rocklet", "Path": "/opt/rocklet", "ReadOnly": True}}
SMALL = Request(task="rocklet", driver="mock_driver", cpu=100, memory_mb=100, disk_mb=100)


def anything(_port: int) -> bool:
    return True


def refusal(request: Request, usage: Usage | None = None) -> Refusal:
    outcome = place(NODE, usage or Usage(), request, anything)
    assert isinstance(outcome, Refusal)
    return outcome


@pytest.mark.parametrize(
    ("change", "filtered"),
    [
        ({"driver": "docker"}, "missing drivers"),
        ({"devices": (DeviceRequest("nvidia/gpu", 9, ()),)}, "missing devices"),
        ({"devices": (DeviceRequest("nvidia/gpu/B200", 1, ()),)}, "missing devices"),
        ({"host_volumes": (("none", True),)}, "missing compatible host volumes"),
        ({"host_volumes": (("rocklet", False),)}, "missing compatible host volumes"),
        ({"constraints": (("${attr.os.name}", "=", "plan9"),)}, "${attr.os.name} = plan9"),
        ({"constraints": (("${meta.rack}", "is_set", ""),)}, "${meta.rack} is_set "),
    ],
)
def test_what_the_node_can_never_hold_is_filtered(change: dict[str, object], filtered: str) -> None:
    metrics = refusal(dataclasses.replace(SMALL, **change)).metrics(0)  # type: ignore[arg-type]
    assert metrics["ConstraintFiltered"] == {filtered: 1}
    assert (metrics["NodesFiltered"], metrics["NodesExhausted"]) == (1, 0)


@pytest.mark.parametrize(
    ("change", "dimension", "exhausted"),
    [
        ({"cpu": 4001}, "cpu", {"CPU": 4001}),
        ({"memory_mb": 8001}, "memory", {"MemoryMB": 8001}),
        ({"disk_mb": 10001}, "disk", {}),
        # Nomad adds the groups up when it filters, and serves from one of them: eight there are, in two groups.
        ({"devices": (DeviceRequest("gpu", 8, ()),)}, "devices: no devices match request", {}),
    ],
)
def test_what_is_too_much_now_is_exhausted(
    change: dict[str, object], dimension: str, exhausted: dict[str, int]
) -> None:
    metrics = refusal(dataclasses.replace(SMALL, **change)).metrics(2)  # type: ignore[arg-type]
    assert metrics["DimensionExhausted"] == {dimension: 1}
    asked = {key: value for key, value in metrics["ResourcesExhausted"]["rocklet"].items() if value}
    assert asked == exhausted
    assert metrics["CoalescedFailures"] == 2


def test_another_datacenter_has_no_nodes_at_all() -> None:
    metrics = refusal(dataclasses.replace(SMALL, datacenters=("dc9",))).metrics(0)
    assert (metrics["NodesAvailable"], metrics["NodesEvaluated"], metrics["NodesInPool"]) == ({}, 0, 0)
    assert isinstance(place(NODE, Usage(), dataclasses.replace(SMALL, datacenters=("d*",)), anything), Placement)


def test_a_port_that_somebody_else_holds_is_not_given() -> None:
    asked = dataclasses.replace(SMALL, dynamic_ports=("a", "b"))
    outcome = place(NODE, Usage(), asked, lambda port: port in (20007, 31000))
    assert isinstance(outcome, Placement)
    assert set(outcome.ports.values()) == {20007, 31000}
    none = place(NODE, Usage(), dataclasses.replace(SMALL, dynamic_ports=("a",)), lambda _port: False)
    assert isinstance(none, Refusal)
    assert none.exhausted == "network: dynamic port selection failed"


def test_a_static_port_collides() -> None:
    asked = dataclasses.replace(SMALL, static_ports=(("web", 8080),))
    usage = Usage()
    first = place(NODE, usage, asked, anything)
    assert isinstance(first, Placement)
    usage.take(first)
    assert refusal(asked, usage).exhausted == "network: reserved port collision"


REQUESTS = st.builds(
    Request,
    task=st.just("rocklet"),
    driver=st.just("mock_driver"),
    cpu=st.integers(1, 1500),
    memory_mb=st.integers(1, 3000),
    disk_mb=st.integers(1, 4000),
    dynamic_ports=st.sampled_from([(), ("a",), ("a", "b")]),
    devices=st.sampled_from([(), (DeviceRequest("gpu", 1, ()),), (DeviceRequest("gpu", 3, ()),)]),
)


@pytest.mark.slow
@given(st.lists(REQUESTS, max_size=30), st.randoms(use_true_random=False))
def test_nothing_is_given_twice_or_beyond_what_there_is(requests: list[Request], choice: random.Random) -> None:
    usage, live = Usage(), list[Placement]()
    for request in requests:
        if live and choice.random() < 0.3:
            usage.release(live.pop(choice.randrange(len(live))))
        outcome = place(NODE, usage, request, anything)
        if isinstance(outcome, Placement):
            usage.take(outcome)
            live.append(outcome)
        assert sum(one.request.cpu for one in live) == usage.cpu <= 4000
        assert sum(one.request.memory_mb for one in live) == usage.memory_mb <= 8000
        assert sum(one.request.disk_mb for one in live) == usage.disk_mb <= 10000
        ports = [port for one in live for port in one.ports.values()]
        assert len(ports) == len(set(ports)) == len(usage.ports)
        assert all(20000 <= port <= 32000 for port in ports)
        devices = [device for one in live for ids in one.devices.values() for device in ids]
        assert len(devices) == len(set(devices)) == len(usage.devices)
    for placement in live:
        usage.release(placement)
    assert usage == Usage()


def test_a_request_is_read_from_a_job() -> None:
    job = canonical_job(CPU=7, MemoryMB=8, Devices=[{"Name": "gpu", "Count": 2}])
    ports = {"DynamicPorts": [{"Label": "web"}], "ReservedPorts": [{"Label": "s", "Value": 9}]}
    job["TaskGroups"][0]["Networks"] = [ports]
    job["Constraints"] = [{"LTarget": "${attr.cpu.arch}", "Operand": "=", "RTarget": "amd64"}]
    assert Request.from_job(job) == Request(
        task="rocklet", driver="mock_driver", cpu=7, memory_mb=8, disk_mb=10, dynamic_ports=("web",),
        static_ports=(("s", 9),), devices=(DeviceRequest("gpu", 2, ()),),
        constraints=(("${attr.cpu.arch}", "=", "amd64"),),
    )  # fmt: skip


def test_targets_are_resolved_on_the_node() -> None:
    assert resolve_target(NODE, "${node.unique.id}") == NODE["ID"]
    assert resolve_target(NODE, "${attr.kernel.name}") == "linux"
    assert resolve_target(NODE, "literal") == "literal"
    assert resolve_target(NODE, "${attr.nothing}") is None
    assert resolve_target(NODE, "${nothing}") is None


def test_a_volume_that_the_node_has_is_no_obstacle() -> None:
    job = canonical_job(MemoryMB=10)
    job["TaskGroups"][0]["Volumes"] = {"v": {"Type": "host", "Source": "rocklet", "ReadOnly": True}}
    request = Request.from_job(canonicalize(job))
    assert request.host_volumes == (("rocklet", True),)
    assert isinstance(place(NODE, Usage(), request, anything), Placement)
