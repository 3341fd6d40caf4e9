from __future__ import annotations

from typing import Any

import pytest

from rock_nomad.embedded.drivers.containers import AGENT_LABEL, ALLOCATION_LABEL, container_config, credentials
from rock_nomad.embedded.drivers.driver import Mount, Port, StartRefused
from tests.rock_nomad.embedded.drivers.specs import make_spec


def config_of(config: dict[str, Any], **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a TaskSpec
    return container_config(make_spec(config={"image": "box:1", **config}, **fields), "agent-1")


def test_a_container_is_labelled_with_its_allocation_and_its_agent() -> None:
    labels = config_of({"labels": [{"a": "1"}, {"b": "2"}]}, allocation_id="x")["Labels"]
    assert labels == {"a": "1", "b": "2", ALLOCATION_LABEL: "x", AGENT_LABEL: "agent-1"}


def test_command_and_arguments_follow_the_entrypoint() -> None:
    row = config_of({"entrypoint": ["/e"], "command": "/c", "args": ["x", 1]})
    assert (row["Entrypoint"], row["Cmd"]) == (["/e"], ["/c", "x", "1"])
    assert config_of({})["Cmd"] is None


def test_memory_is_a_hard_limit_without_swap() -> None:
    host = config_of({}, memory_mb=3)["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 3 * 2**20


@pytest.mark.parametrize(("is_hard", "quota"), [(True, 150_000), (False, 0)])
def test_cpu_is_a_share_and_a_quota_only_if_hard(is_hard: bool, quota: int) -> None:
    host = config_of({"cpu_hard_limit": is_hard}, cpu=1500)["HostConfig"]
    assert (host["CpuShares"], host["CpuQuota"]) == (1500, quota)


def test_ports_are_bound_to_loopback_for_both_protocols() -> None:
    row = config_of({"ports": ["rocklet"]}, ports={"rocklet": Port(20001, 22555), "other": Port(1, 2)})
    bound = [{"HostIp": "127.0.0.1", "HostPort": "20001"}]
    assert row["HostConfig"]["PortBindings"] == {"22555/tcp": bound, "22555/udp": bound}


def test_what_is_mounted_is_what_the_job_was_given() -> None:
    host = config_of(
        {"mount": {"type": "tmpfs", "target": "/t", "tmpfs_options": {"size": 5}}},
        mounts=(Mount("/here", "/there", is_read_only=True),),
    )["HostConfig"]
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/here", "Target": "/there", "ReadOnly": True},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 5}},
    ]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"privileged": True, "devices": []}, "knows no devices, privileged"),
        ({"mount": [{"type": "bind", "source": "/etc", "target": "/x"}]}, 'volumes are not enabled.*"/etc"'),
        ({"ulimit": [{"nofile": "many"}]}, "Malformed ulimit nofile: many"),
        ({"ports": ["web"]}, 'Port "web" not found'),
    ],
)
def test_what_a_sandbox_must_not_have_is_refused(config: dict[str, Any], text: str) -> None:
    with pytest.raises(StartRefused, match=text):
        config_of(config)


def test_a_ulimit_of_one_number_is_soft_and_hard() -> None:
    assert config_of({"ulimit": [{"nproc": "9"}]})["HostConfig"]["Ulimits"] == [{"Name": "nproc", "Soft": 9, "Hard": 9}]


def test_credentials_are_those_of_the_config_or_none() -> None:
    assert credentials({"auth": [{"username": "u", "password": "p", "server_address": "s"}]}) == {
        "username": "u", "password": "p",
    }  # fmt: skip
    assert credentials({"auth": [{"username": "", "password": ""}]}) == credentials({}) == {}
