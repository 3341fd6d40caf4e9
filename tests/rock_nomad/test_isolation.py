from __future__ import annotations

from typing import get_args

import pytest

from rock.wire.spec import Isolation, Registry, SandboxSpec
from rock_nomad.isolation import ISOLATIONS


def test_every_isolation_that_a_spec_can_name_is_in_the_table() -> None:
    assert set(ISOLATIONS) == set(get_args(Isolation))


def test_containers_name_the_runtime_that_a_node_must_have() -> None:
    runtimes = {name: profile.runtime for name, profile in ISOLATIONS.items() if profile.driver == "docker"}
    assert runtimes == {"runc": "runc", "gvisor": "runsc", "kata": "kata"}
    assert all(profile.config["runtime"] == profile.runtime for profile in ISOLATIONS.values() if profile.runtime)


def test_containers_are_unprivileged_with_capabilities_dropped() -> None:
    for profile in ISOLATIONS.values():
        if profile.driver == "docker":
            assert profile.config["cap_drop"] == ["all"]
            assert "privileged" not in profile.config


def test_an_image_that_is_not_used_is_said() -> None:
    said = ISOLATIONS["raw_exec"].warnings(SandboxSpec(image="x:1"), "raw_exec")
    assert said == ["the image x:1 is recorded but not used: raw_exec runs on the node's own files"]
    assert ISOLATIONS["runc"].warnings(SandboxSpec(image="x:1"), "runc") == []


def test_credentials_that_are_not_used_are_said_and_not_shown() -> None:
    spec = SandboxSpec(registry=Registry(username="me", password="hunter2"))
    said = ISOLATIONS["raw_exec"].warnings(spec, "raw_exec")
    assert any("credentials" in each for each in said)
    assert "hunter2" not in "".join(said)


@pytest.mark.parametrize(
    ("name", "limit", "is_enforced"), [("runc", 2.0, True), ("runc", 3.0, False), ("exec", 2.0, False)]
)
def test_a_cpu_ceiling_that_is_not_enforced_is_said(name: Isolation, limit: float, is_enforced: bool) -> None:
    said = ISOLATIONS[name].warnings(SandboxSpec(cpus=2.0, limit_cpus=limit), name)
    assert any("limit_cpus" in each for each in said) != is_enforced


@pytest.mark.parametrize(
    ("name", "spec", "word"),
    [
        ("raw_exec", SandboxSpec(shm_bytes=2**20), "shm_bytes"),
        ("runc", SandboxSpec(pull="never"), "pull never"),
    ],
)
def test_what_a_driver_cannot_do_is_said(name: Isolation, spec: SandboxSpec, word: str) -> None:
    assert any(word in each for each in ISOLATIONS[name].warnings(spec, name))
