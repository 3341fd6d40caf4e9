"""The client's edge: ROCK's models into wire structs, and back.  Pure."""

from __future__ import annotations

import logging
import math
from datetime import datetime, timezone
from typing import Any, cast

from rock._httpx import as_httpx
from rock._nohup import PID_PREFIX
from rock._requests import BashAction, Command, CreateBashSessionRequest, ReadFileRequest
from rock._responses import (
    BashObservation,
    CommandResponse,
    SandboxStatusResponse,
    State,
    StateTransitionRecord,
)
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
from rock.wire import messages as m
from rock.wire.reasons import REASONS, Family
from rock.wire.sizes import parse_size
from rock.wire.spec import Isolation, Registry, SandboxSpec

__all__ = [
    "from_observation",
    "from_output",
    "from_status",
    "to_create_session",
    "to_end",
    "to_execute",
    "to_read_file",
    "to_run",
    "to_spec",
]

log = logging.getLogger(__name__)

_OWNER_LABELS = {"user_id": "rock.user_id", "experiment_id": "rock.experiment_id", "namespace": "rock.namespace"}
"""ROCK's fields that say whose a sandbox is, as labels."""

_ENDED = {Family.BAD_REQUEST: SandboxEnded, Family.INTERNAL: StartFailed, Family.COMMAND: SandboxDied}


def to_spec(config: SandboxConfig, sandbox_id: str) -> SandboxSpec:
    """What the gateway is asked for.

    Raises InvalidRequest: the config says something that no sandbox can be.
    """
    if config.image_os.casefold() == "windows":
        raise _invalid("image_os", config.image_os, "an image that Linux can run")
    if config.auto_archive_seconds is not None:
        log.warning("auto_archive_seconds has no effect: the files of a sandbox do not survive its stop")
    return SandboxSpec(
        sandbox_id=sandbox_id,
        image=config.image.strip(),
        cpus=float(config.cpus),
        limit_cpus=config.limit_cpus,
        memory_bytes=_to_bytes("memory", config.memory),
        # ROCK's default of 50 GB is more than many nodes have; so only a wish that was uttered counts.
        disk_bytes=_to_bytes("disk", config.disk) if config.disk and "disk" in config.model_fields_set else None,
        gpus=_to_gpus(config.num_gpus),
        gpu_type=config.accelerator_type,
        gpu_memory_bytes=_to_bytes("gpu_memory", config.gpu_memory) if config.gpu_memory else None,
        isolation=_to_isolation(config),
        env=dict(config.env),
        ports=list(config.ports),
        labels=_to_labels(config),
        registry=_to_registry(config),
        startup_timeout=config.startup_timeout,
        idle_timeout=float(config.auto_clear_seconds),
        max_lifetime=config.max_lifetime,
        lease=config.lease,
        pull=config.pull,
        node_pool=config.node_pool,
    )


def _to_bytes(field: str, size: str) -> int:
    try:
        return parse_size(size)
    except ValueError as error:
        raise _invalid(field, size, "a number and a unit, such as 512m or 8g") from error


def _to_gpus(num_gpus: float | None) -> int:
    if num_gpus is None or float(num_gpus).is_integer():
        return int(num_gpus or 0)
    raise _invalid("num_gpus", num_gpus, "a whole number of GPUs")


def _to_isolation(config: SandboxConfig) -> Isolation | None:
    return config.isolation or ("kata" if config.use_kata_runtime else None)


def _to_labels(config: SandboxConfig) -> dict[str, str]:
    owner = {label: getattr(config, field) for field, label in _OWNER_LABELS.items()}
    return {**{label: value for label, value in owner.items() if value}, **config.labels}


def _to_registry(config: SandboxConfig) -> Registry | None:
    if not config.registry_username and not config.registry_password:
        return None
    if not config.registry_username or not config.registry_password:
        missing = "registry_password" if config.registry_username else "registry_username"
        raise _invalid(missing, None, "given together with the other of the pair")
    return Registry(username=config.registry_username, password=config.registry_password)


def to_create_session(request: CreateBashSessionRequest) -> m.CreateSessionRequest:
    """A session that is there already is kept, as ROCK's users expect."""
    return m.CreateSessionRequest(
        session=request.session,
        env=request.env or {},
        startup_source=request.startup_source,
        user=request.remote_user,
        on_existing="keep",
    )


def to_run(action: BashAction, silence_timeout: float | None = None) -> m.RunRequest:
    """A command in a session: begun only if all of it can be parsed, and whatever it leaves behind is waited for."""
    return m.RunRequest(
        command=action.command,
        session=action.session,
        timeout=action.timeout,
        silence_timeout=silence_timeout,
        check_syntax=True,
        announces=PID_PREFIX,
    )


def to_execute(command: Command) -> m.ExecuteRequest:
    """A program without a session."""
    return m.ExecuteRequest(command=command.command, cwd=command.cwd, env=command.env or {}, timeout=command.timeout)


def to_read_file(request: ReadFileRequest) -> m.ReadFileRequest:
    """A text file to read."""
    # What `errors` may be is the rocklet's to check: its answer names the field.
    return m.ReadFileRequest(
        path=request.path, encoding=request.encoding or "utf-8", errors=cast(Any, request.errors or "strict")
    )


def from_observation(observation: m.Observation, action: BashAction) -> BashObservation:
    """What a command did, by ROCK's rules.

    Output loses the white space at both ends, as in ROCK.  Raises, if `action.check` is "raise", CommandTimeout or
    NonZeroExitCode; both have the output in `details`.
    """
    output = observation.output.strip()
    if action.check == "raise" and observation.timed_out:
        why = f"timed out after {action.timeout} seconds"  # in ROCK's words
        if observation.failure_reason and observation.duration < (action.timeout or math.inf):
            why = observation.failure_reason  # it was silent, which ROCK does not know
        late = CommandTimeout(
            f"Failed to execute command: {action.command!r} {why}. Here is the output:\n{output}",
            details={"output": output, "timeout": action.timeout},
        )
        raise as_httpx(late)
    if action.check == "raise" and observation.exit_code != 0:
        error = NonZeroExitCode.from_command(action.command, observation.exit_code, output)
        error.details["failure_reason"] = observation.failure_reason
        raise error
    return BashObservation(
        output=output,
        exit_code=None if action.check == "ignore" else observation.exit_code,
        failure_reason=_with_cut(observation.failure_reason, observation.cut_bytes),
        expect_string=observation.expect_string,
    )


def from_output(output: m.CommandOutput) -> CommandResponse:
    """What a program did; one that has no exit code of its own gets -1 and the reason at the end of stderr."""
    note = _with_cut(output.failure_reason, output.cut_bytes)
    return CommandResponse(
        stdout=output.stdout,
        stderr="\n".join(part for part in (output.stderr, note) if part),
        exit_code=-1 if output.exit_code is None else output.exit_code,
    )


def from_status(status: m.SandboxStatus) -> SandboxStatusResponse:
    """What is known about a sandbox."""
    owner = {field: status.labels.get(label) for field, label in _OWNER_LABELS.items()}
    disk = _size(status.disk_bytes) if status.disk_bytes is not None else None
    deadlines = (status.deadlines.idle, status.deadlines.max_lifetime, status.deadlines.lease)
    return SandboxStatusResponse(
        sandbox_id=status.sandbox_id,
        status={name: _phase(phase) for name, phase in status.phases.items()},
        port_mapping={},
        host_name=status.node or "",
        host_ip=status.host_ip or "",
        is_alive=status.state is m.State.RUNNING and status.observed_by == "rocklet",
        image=status.image,
        cpus=status.cpus,
        memory=_size(status.memory_bytes),
        num_gpus=float(status.gpus) if status.gpus else None,
        accelerator_type=status.gpu_type,
        disk=disk,
        disk_limit_rootfs=disk,
        state=State(status.state.value),
        create_time=_time(status.created_at),
        start_time=_time(status.started_at),
        stop_time=_time(status.stopped_at),
        auto_stop_time=_time(min((at for at in deadlines if at is not None), default=None)),
        state_history=[_transition(transition) for transition in status.history],
        reason=status.reason.value if status.reason else None,
        message=status.message,
        **owner,
    )


def to_end(status: m.SandboxStatus) -> RockException:
    """The error for a sandbox that has ended, by whose doing that was."""
    if status.reason is None:
        return SandboxEnded(f"sandbox {status.sandbox_id} has ended: {status.message or 'nothing more is known'}")
    facts = REASONS[status.reason]
    message = f"sandbox {status.sandbox_id} has ended: {status.message or facts.summary}; {facts.remedy}"
    return _ENDED[facts.family](message, reason=status.reason)


def _phase(phase: m.PhaseStatus) -> dict[str, str]:
    times = {"started_at": _time(phase.started_at), "completed_at": _time(phase.completed_at)}
    return {"status": phase.status.value, "message": phase.message, **{key: at for key, at in times.items() if at}}


def _transition(transition: m.Transition) -> StateTransitionRecord:
    return StateTransitionRecord(
        from_state=transition.from_state.value,
        to_state=transition.to_state.value,
        event=transition.event,
        timestamp=_time(transition.at) or "",
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="seconds")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f}g"  # as ROCK echoes sizes


def _with_cut(reason: str, cut_bytes: int) -> str:
    cut = f"{cut_bytes} bytes were cut from the middle of the output" if cut_bytes else ""
    return "; ".join(part for part in (reason, cut) if part)


def _invalid(field: str, value: object, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"{field} is {value!r}; it must be {expected}",
        details={"field": field, "value": repr(value), "expected": expected},
    )
