from __future__ import annotations

import logging

import msgspec
import pytest

from rock import _convert
from rock._requests import BashAction, Command, CreateBashSessionRequest, ReadFileRequest
from rock._responses import State
from rock._sandbox_config import SandboxConfig
from rock.errors import (
    CommandTimeout,
    InvalidRequest,
    NonZeroExitCode,
    RockException,
    SandboxDied,
    SandboxEnded,
    StartFailed,
)
from rock.wire import codec
from rock.wire import messages as m
from rock.wire.reasons import REASONS, Family, Reason
from rock.wire.spec import SandboxSpec


def test_the_default_config_asks_for_the_default_spec() -> None:
    assert _convert.to_spec(SandboxConfig(), "s1") == SandboxSpec(sandbox_id="s1")


def test_a_config_becomes_a_spec_that_the_wire_takes() -> None:
    config = SandboxConfig(
        image=" busybox ",
        auto_clear_seconds=60,
        startup_timeout=30,
        memory="512m",
        cpus=0.5,
        limit_cpus=1,
        num_gpus=2,
        accelerator_type="H100",
        gpu_memory="40g",
        user_id="ada",
        experiment_id="e7",
        registry_username="u",
        registry_password="p",
        use_kata_runtime=True,
        disk="10G",
        env={"A": "b"},
        labels={"team": "red"},
        ports=[8080],
        max_lifetime=3600,
        lease=60,
        pull="always",
        node_pool="gpu",
    )
    spec = _convert.to_spec(config, "s1")
    assert codec.decode(SandboxSpec, codec.encode(spec)) == spec
    assert (spec.image, spec.memory_bytes, spec.disk_bytes) == ("busybox", 512 * 2**20, 10 * 2**30)
    assert (spec.gpus, spec.gpu_type, spec.gpu_memory_bytes) == (2, "H100", 40 * 2**30)
    assert (spec.isolation, spec.idle_timeout, spec.lease) == ("kata", 60.0, 60)
    assert spec.labels == {"rock.user_id": "ada", "rock.experiment_id": "e7", "team": "red"}
    assert spec.registry is not None
    assert (spec.registry.username, spec.registry.password) == ("u", "p")


def test_rocks_default_disk_is_not_asked_for_but_the_same_wish_is() -> None:
    assert _convert.to_spec(SandboxConfig(), "s1").disk_bytes is None
    config = SandboxConfig()
    config.disk = "50G"
    assert _convert.to_spec(config, "s1").disk_bytes == 50 * 2**30


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory", "much"),
        ("disk", "-1g"),
        ("gpu_memory", "x"),
        ("num_gpus", 0.5),
        ("num_gpus", float("inf")),
        ("num_gpus", float("nan")),
        ("image_os", "windows"),
        ("registry_username", "alone"),
    ],
)
def test_what_no_sandbox_can_be_names_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _convert.to_spec(SandboxConfig.model_validate({field: value}), "s1")
    assert caught.value.details["field"] in (field, "registry_password")


def test_an_archive_that_does_not_exist_is_said_to_have_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rock"):
        _convert.to_spec(SandboxConfig(auto_archive_seconds=60), "s1")
    assert "no effect" in caplog.text


def test_requests_become_wire_structs() -> None:
    session = _convert.to_create_session(
        CreateBashSessionRequest(session="s", env={"A": "b"}, startup_source=["/rc"], remote_user="u")
    )
    assert session == m.CreateSessionRequest(
        session="s", env={"A": "b"}, startup_source=["/rc"], user="u", on_existing="keep"
    )
    assert _convert.to_run(BashAction(command="x", session="s", timeout=2)) == m.RunRequest(
        command="x", session="s", timeout=2, check_syntax=True, announces="PIDSTART"
    )
    assert _convert.to_execute(Command(command=["x"], cwd="/", env={"A": "b"})) == m.ExecuteRequest(
        command=["x"], cwd="/", env={"A": "b"}, timeout=1200
    )
    assert _convert.to_read_file(ReadFileRequest(path="/a")) == m.ReadFileRequest(path="/a")
    named = ReadFileRequest(path="/a", encoding="latin-1", errors="ignore")
    assert _convert.to_read_file(named) == m.ReadFileRequest(path="/a", encoding="latin-1", errors="ignore")


def test_an_observation_loses_white_space_at_both_ends_alone() -> None:
    observation = m.Observation(output="\n a  b \r\n", exit_code=0, expect_string=">>>")
    seen = _convert.from_observation(observation, BashAction(command="x"))
    assert (seen.output, seen.exit_code, seen.failure_reason, seen.expect_string) == ("a  b", 0, "", ">>>")


def test_check_decides_about_an_exit_code() -> None:
    failed = m.Observation(output="o", exit_code=3, failure_reason="the shell ended", cut_bytes=7)
    with pytest.raises(NonZeroExitCode) as caught:
        _convert.from_observation(failed, BashAction(command="x"))
    assert caught.value.details == {"exit_code": 3, "output": "o", "failure_reason": "the shell ended"}
    silent = _convert.from_observation(failed, BashAction(command="x", check="silent"))
    assert silent.exit_code == 3
    assert silent.failure_reason == "the shell ended; 7 bytes were cut from the middle of the output"
    assert _convert.from_observation(failed, BashAction(command="x", check="ignore")).exit_code is None


def test_check_decides_about_a_time_out() -> None:
    late = m.Observation(output="o", timed_out=True, failure_reason="timed out", duration=2.1)
    with pytest.raises(CommandTimeout, match=r"^Failed to execute command: 'x' timed out after 2.0 seconds"):
        _convert.from_observation(late, BashAction(command="x", timeout=2))
    silent = _convert.from_observation(late, BashAction(command="x", timeout=2, check="silent"))
    assert (silent.exit_code, silent.failure_reason) == (None, "timed out")


def test_a_command_that_was_silent_for_too_long_says_so() -> None:
    late = m.Observation(output="o", timed_out=True, failure_reason="printed nothing for 1 s; killed", duration=1.1)
    for timeout in (2, None):
        with pytest.raises(CommandTimeout, match=r"^Failed to execute command: 'x' printed nothing for 1 s; killed\."):
            _convert.from_observation(late, BashAction(command="x", timeout=timeout))


def test_a_programs_reason_stands_at_the_end_of_stderr() -> None:
    fine = _convert.from_output(m.CommandOutput(stdout="o\n", stderr="e\n", exit_code=0))
    assert (fine.stdout, fine.stderr, fine.exit_code) == ("o\n", "e\n", 0)
    late = _convert.from_output(m.CommandOutput(stdout="", stderr="", timed_out=True, failure_reason="timed out"))
    assert (late.stderr, late.exit_code) == ("timed out", -1)


def test_a_status_becomes_rocks() -> None:
    status = m.SandboxStatus(
        sandbox_id="s1",
        state=m.State.RUNNING,
        phases={"task_start": m.PhaseStatus(status=m.Phase.SUCCESS, message="m", started_at=0.0)},
        memory_bytes=8 * 2**30,
        disk_bytes=2**30,
        labels={"rock.user_id": "ada"},
        created_at=0.0,
        deadlines=m.Deadlines(idle=60.0, max_lifetime=30.0),
        history=[m.Transition(from_state=m.State.PENDING, to_state=m.State.RUNNING, event="alive", at=1.0)],
        observed_by="rocklet",
    )
    seen = _convert.from_status(status)
    assert (seen.state, seen.is_alive, seen.memory, seen.disk, seen.user_id) == (
        State.RUNNING, True, "8.00g", "1.00g", "ada",
    )  # fmt: skip
    assert seen.create_time == "1970-01-01T00:00:00+00:00"
    assert seen.auto_stop_time == "1970-01-01T00:00:30+00:00"
    assert seen.status == {
        "task_start": {"status": "success", "message": "m", "started_at": "1970-01-01T00:00:00+00:00"}
    }
    assert [(each.from_state, each.to_state, each.event) for each in seen.state_history] == [
        ("pending", "running", "alive")
    ]


@pytest.mark.parametrize("state", m.State)
def test_alive_means_that_the_rocklet_has_answered(state: m.State) -> None:
    for observed_by in ("nomad", "rocklet"):
        status = msgspec.convert({"sandbox_id": "s", "state": state.value, "observed_by": observed_by}, m.SandboxStatus)
        assert _convert.from_status(status).is_alive is (state is m.State.RUNNING and observed_by == "rocklet")


@pytest.mark.parametrize("reason", Reason)
def test_an_end_is_an_error_of_its_reasons_family_and_says_the_remedy(reason: Reason) -> None:
    error = _convert.to_end(m.SandboxStatus(sandbox_id="s1", state=m.State.STOPPED, reason=reason))
    families: dict[Family, type[RockException]] = {
        Family.BAD_REQUEST: SandboxEnded,
        Family.INTERNAL: StartFailed,
        Family.COMMAND: SandboxDied,
    }
    assert type(error) is families[REASONS[reason].family]
    assert error.reason is reason
    assert error.message.endswith(REASONS[reason].remedy)


def test_an_end_whose_evidence_is_gone_has_no_reason() -> None:
    error = _convert.to_end(m.SandboxStatus(sandbox_id="s1", state=m.State.STOPPED))
    assert (type(error), error.reason) == (SandboxEnded, None)
