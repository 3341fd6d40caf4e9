"""The answers of a real process, to calls such as Nomad's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from rock_nomad.device_plugin import messages as m
from rock_nomad.device_plugin.config import config_schema
from rock_nomad.device_plugin.plugin import NAME
from tests.rock_nomad.device_plugin.agent import Agent, start_plugin
from tests.rock_nomad.device_plugin.stub import Driver

pytestmark = pytest.mark.slow

MODELS = "NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with start_plugin(tmp_path) as agent:
        yield agent


@pytest.fixture
def simulated(agent: Agent, state: Path) -> Agent:
    agent.configure(simulate=MODELS, state_file=str(state), period=0.02, patience=60)
    return agent


def _health(response: m.FingerprintResponse) -> dict[str, str | None]:
    """What ails each device; None: it is well."""
    devices = [device for group in response.device_group for device in group.devices]
    assert all(device.healthy == (device.health_description == "") for device in devices)
    return {device.ID: device.health_description or None for device in devices}


def _well(response: m.FingerprintResponse) -> list[int | None]:
    return [group.attributes["healthy"].int_val for group in response.device_group]


def test_it_says_what_it_is_and_can_be_told(agent: Agent) -> None:
    info = agent.info()
    assert (info.type, info.plugin_api_versions, info.name) == (3, ["v0.1.0"], NAME)
    assert info.plugin_version.startswith("v0.")
    assert agent.schema().spec == config_schema()


def test_a_configuration_that_will_not_do_is_refused_in_a_sentence(agent: Agent) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        agent.configure(period=0)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"{NAME}: period is 0; it must be a number of seconds above 0"


def test_devices_are_told_at_once_and_whenever_they_change(simulated: Agent, state: Path) -> None:
    stream = simulated.fingerprint()
    first = next(stream)
    assert [(group.vendor, group.device_type, group.device_name) for group in first.device_group] == [
        ("nvidia", "gpu", "NVIDIA H100 80GB HBM3"), ("nvidia", "gpu", "NVIDIA A10G"),
    ]  # fmt: skip
    assert _health(first) == {"GPU-simulated-0-0": None, "GPU-simulated-0-1": None, "GPU-simulated-1-0": None}
    assert first.device_group[0].attributes["memory"] == m.Attribute(int_val=81559, unit="MiB")
    assert _well(first) == [2, 1]
    state.write_text(json.dumps({"sick": {"GPU-simulated-0-1": "XID 79"}}))
    second = next(stream)
    assert _health(second) == {"GPU-simulated-0-0": None, "GPU-simulated-0-1": "XID 79", "GPU-simulated-1-0": None}
    assert _well(second) == [1, 1]  # which changes the node's class
    state.unlink()
    assert next(stream) == first


def test_a_node_without_a_driver_says_at_once_that_it_has_no_devices(agent: Agent, tmp_path: Path) -> None:
    agent.configure(sick_file=str(tmp_path / "sick"), period=0.02)
    assert next(agent.fingerprint()) == m.FingerprintResponse()


def test_a_broken_state_file_keeps_the_devices_and_the_stream(simulated: Agent, state: Path) -> None:
    stream = simulated.fingerprint()
    next(stream)
    state.write_text("{")
    simulated.reserve("GPU-simulated-0-0")
    state.write_text(json.dumps({"missing": ["GPU-simulated-1-0"]}))
    assert len(_health(next(stream))) == 2


def test_a_reservation_is_for_devices_that_are_well(simulated: Agent, state: Path) -> None:
    stream = simulated.fingerprint()
    next(stream)
    assert simulated.reserve("GPU-simulated-0-1", "GPU-simulated-0-0").envs == {
        "CUDA_VISIBLE_DEVICES": "GPU-simulated-0-1,GPU-simulated-0-0"
    }
    state.write_text(json.dumps({"sick": {"GPU-simulated-0-1": "XID 79"}}))
    next(stream)
    with pytest.raises(grpc.RpcError) as caught:
        simulated.reserve("GPU-simulated-0-1", "nobody")
    assert caught.value.details() == "nobody is not there; GPU-simulated-0-1 is sick: XID 79"


def test_a_reservation_may_come_before_the_devices_were_asked_for(simulated: Agent) -> None:
    assert simulated.reserve("GPU-simulated-0-0").envs


def test_nothing_works_unconfigured_and_nothing_breaks(agent: Agent) -> None:
    for call in (
        lambda: next(agent.fingerprint()),
        lambda: agent.reserve("x"),
        lambda: next(agent.statistics(every=1)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert agent.info().name == NAME


def test_statistics_come_as_often_as_asked_and_outlive_errors(simulated: Agent, state: Path) -> None:
    stream = simulated.statistics(every=0.02)
    first, second = next(stream), next(stream)
    assert [len(group.instance_stats) for group in first.groups] == [2, 1]
    one = second.groups[0].instance_stats["GPU-simulated-0-0"]
    assert one.summary is not None
    assert one.summary.int_denominator_val == m.Int64Value(value=81559)
    assert one.stats is not None
    assert "GPU utilization" in one.stats.attributes
    state.write_text("{")
    state.unlink()
    assert next(stream).groups


def test_real_cards_are_told_with_their_errors(driver: Driver, agent: Agent, tmp_path: Path) -> None:
    agent.configure(sick_file=str(tmp_path / "sick"), period=0.5)
    stream = agent.fingerprint()
    ids = list(_health(next(stream)))
    assert len(ids) == 3
    assert agent.reserve(ids[0]).envs == {"NVIDIA_VISIBLE_DEVICES": ids[0], "CUDA_VISIBLE_DEVICES": ids[0]}
    driver.report(int(ids[0][-1]), data=79)
    assert str(_health(next(stream))[ids[0]]).startswith("XID 79")
    measured = next(agent.statistics(every=1)).groups
    assert {id_ for group in measured for id_ in group.instance_stats} == set(ids)


def test_a_driver_that_hangs_leaves_the_plugin_answering(driver: Driver, agent: Agent, tmp_path: Path) -> None:
    agent.configure(sick_file=str(tmp_path / "sick"), period=0.05, patience=0.3)
    stream = agent.fingerprint()
    first = next(stream)
    driver.update(hang=1)
    silent = next(stream)
    assert set(_health(silent).values()) == {"no answer about it for 0.3 s"}
    assert _well(silent) == [0, 0]
    with pytest.raises(grpc.RpcError, match="no answer"):
        agent.reserve(next(iter(_health(first))))
    driver.update(hang=0)
    assert next(stream) == first
