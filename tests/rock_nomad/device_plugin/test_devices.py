from __future__ import annotations

import pytest

from rock_nomad.device_plugin.devices import Device, DeviceGroup, Quantity, Unreservable, reserve

GROUP = DeviceGroup(
    model="A",
    devices=(
        Device(id="a", nodes=("/dev/nvidia0", "/dev/nvidiactl")),
        Device(id="b", nodes=("/dev/nvidia1", "/dev/nvidiactl")),
        Device(id="c", ailment="XID 79"),
    ),
    attributes={"memory": Quantity(1024, "MiB")},
)


def test_a_groups_attributes_tell_how_many_are_well() -> None:
    assert GROUP.advertised_attributes() == {"memory": Quantity(1024, "MiB"), "healthy": Quantity(2)}


def test_a_task_is_told_its_devices_under_every_name_and_given_their_nodes_once() -> None:
    reservation = reserve([GROUP], ["b", "a"], ["ONE", "TWO"])
    assert reservation.env == {"ONE": "b,a", "TWO": "b,a"}
    assert reservation.nodes == ["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia0"]


def test_sick_and_missing_devices_are_not_given_out() -> None:
    with pytest.raises(Unreservable, match=r"^x is not there; c is sick: XID 79$"):
        reserve([GROUP], ["c", "a", "x"], ["ONE"])
