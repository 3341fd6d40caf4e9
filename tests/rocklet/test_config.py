"""What the rocklet is told when it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rocklet.config import BadSetting, read_settings
from tests.rocklets import rocklet_environment


def test_all_that_a_job_can_say_is_read(tmp_path: Path) -> None:
    clocks = {"idle_timeout": 1.5, "max_lifetime": 60, "lease": 2}
    environ = rocklet_environment(
        sandbox_id="swe-1.7", port=8123, env={"A": "b"}, ports=[80], home=tmp_path, gem_python="/gem/python", **clocks
    )
    settings = read_settings(["--host", "127.0.0.1"], environ)
    assert (settings.sandbox_id, settings.host, settings.port) == ("swe-1.7", "127.0.0.1", 8123)
    assert (settings.idle_timeout, settings.max_lifetime, settings.lease) == (1.5, 60.0, 2.0)
    assert (settings.env, settings.ports, settings.home) == ({"A": "b"}, [80], str(tmp_path))
    assert settings.gem_python == "/gem/python"


def test_each_limit_can_be_set() -> None:
    limits = {"session_limit": 1, "read_bytes": 2, "body_bytes": 3, "archive_files": 4, "archive_bytes": 5}
    settings = read_settings([], rocklet_environment(**limits))
    assert {name: getattr(settings, name) for name in limits} == limits
    with pytest.raises(BadSetting, match="ROCKLET_BODY_BYTES is 'many'; it must be bytes"):
        read_settings([], rocklet_environment(body_bytes="many"))


def test_the_limits_of_commands_can_be_set() -> None:
    settings = read_settings([], rocklet_environment(command_limit=3, command_log_bytes=4096))
    assert (settings.command_limit, settings.command_log_bytes) == (3, 4096)
    with pytest.raises(BadSetting, match="ROCKLET_COMMAND_LIMIT is '0'"):
        read_settings([], rocklet_environment(command_limit=0))


def test_what_a_job_does_not_say_has_defaults() -> None:
    settings = read_settings([], rocklet_environment())
    assert (settings.idle_timeout, settings.max_lifetime, settings.lease) == (300.0, 86_400.0, None)
    assert (settings.env, settings.ports, settings.home) == ({}, [], os.getcwd())


def test_an_argument_wins_over_the_variable() -> None:
    assert read_settings(["--port=99"], rocklet_environment(port=1)).port == 99


def test_devices_that_a_node_gave_are_told_to_commands_and_the_job_may_overrule() -> None:
    given = {"NVIDIA_VISIBLE_DEVICES": "GPU-1", "CUDA_X": "its", "SECRET": "s"}
    environ = {**rocklet_environment(env={"CUDA_X": "mine"}), **given}
    assert read_settings([], environ).env == {"NVIDIA_VISIBLE_DEVICES": "GPU-1", "CUDA_X": "mine"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SANDBOX_ID", ""),
        ("SANDBOX_ID", "No_Good"),
        ("TOKEN_SHA256", ""),
        ("TOKEN_SHA256", "abc"),
        ("PORT", "-1"),
        ("PORT", "http"),
        ("IDLE_TIMEOUT", "0"),
        ("MAX_LIFETIME", "-5"),
        ("LEASE", "soon"),
        ("ENV", "{"),
        ("ENV", '{"A-B": "x"}'),
        ("PORTS", "[0]"),
        ("HOME", "/nonono"),
    ],
)
def test_a_bad_value_is_an_error_that_names_its_variable(name: str, value: str) -> None:
    environ = {**rocklet_environment(), f"ROCKLET_{name}": value}
    with pytest.raises(BadSetting, match=f"ROCKLET_{name}"):
        read_settings([], environ)


@pytest.mark.parametrize("arguments", [["--nope"], ["--port"], ["serve"]])
def test_an_unknown_argument_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(BadSetting, match=arguments[0]):
        read_settings(arguments, rocklet_environment())


def test_without_any_port_there_is_nothing_to_listen_on() -> None:
    environ = rocklet_environment()
    del environ["ROCKLET_PORT"]
    with pytest.raises(BadSetting, match="ROCKLET_PORT"):
        read_settings([], environ)
