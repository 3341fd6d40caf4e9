"""Results and errors as ROCK's clients read them.  Pure.

Their models refuse null in many places (`is_alive`, `state_history`, `output`, `failure_reason`, ...), so nothing is
null here but what ROCK itself leaves so.
Source: rl-rock 1.11, `rock/actions/response.py` and `rock/actions/sandbox/response.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import msgspec
from yarl import URL

from rock.wire.errors import (
    Canceled,
    CommandFailed,
    CommandTimeout,
    IdInUse,
    RockException,
    SandboxNotFound,
    SessionNotFound,
)
from rock.wire.messages import CommandOutput, Observation, Phase, PhaseStatus, SandboxStatus, State
from rock.wire.reasons import Family
from rock_nomad.gateway.dialects.rock import quirks
from rock_nomad.gateway.dialects.rock.requests import OWNER_LABELS, ExecuteRequest, RunRequest
from rock_nomad.status import SILENT

__all__ = [
    "Host",
    "failed",
    "render_execution",
    "render_observation",
    "render_start",
    "render_status",
    "succeeded",
    "syntax_error",
]

Host = tuple[str, str]
"""A machine's name and its address."""

_Json = dict[str, Any]
_CODES = {Family.BAD_REQUEST: 4000, Family.INTERNAL: 5000, Family.COMMAND: 6000}
_DEFAULT_OWNER = "default"
_OUTPUT_SHOWN = 2**20  # characters of an output that an error repeats


def succeeded(result: object) -> bytes:
    """A result in ROCK's envelope."""
    return msgspec.json.encode({"status": "Success", "message": None, "error": None, "result": result})


def failed(error: RockException, *, message: str | None, sandbox_id: str = "") -> bytes:
    """An error in ROCK's envelope; `message` is what ROCK says of the call that failed."""
    text = _text(error, sandbox_id)
    exit_code = error.details.get("exit_code")
    result = {
        "code": _CODES[error.family],
        "exit_code": exit_code if isinstance(exit_code, int) else None,
        "failure_reason": text,
    }
    return msgspec.json.encode({"status": "Failed", "message": message, "error": text, "result": result})


def _text(error: RockException, sandbox_id: str) -> str:
    """What an error says, with ROCK's own words in front where clients look for them."""
    if isinstance(error, SandboxNotFound) and sandbox_id:
        return f"Sandbox {sandbox_id} not found: {error.message}"
    if isinstance(error, IdInUse):
        return f"Sandbox {error.details.get('value', sandbox_id)} already exists; choose another sandbox_id"
    if isinstance(error, SessionNotFound):
        return f"session {error.details.get('session', '')!r} does not exist: {error.message}"
    return error.message


# ------------------------------------------------------------------------------------------------------- lifecycle


def render_start(status: SandboxStatus, gateway: Host) -> _Json:
    """The answer to a start.  While the sandbox has no host, it is the gateway that its calls go to."""
    disk = _disk(status.disk_bytes)
    return {
        "code": None,
        "exit_code": None,
        "failure_reason": None,
        "sandbox_id": status.sandbox_id,
        "host_name": status.node or gateway[0],
        "host_ip": status.host_ip or gateway[1],
        "cpus": status.cpus,
        "memory": _memory(status.memory_bytes),
        "disk": disk,
        "disk_limit_rootfs": disk,
    }


def render_status(status: SandboxStatus, gateway: Host) -> _Json:
    """What is known of a sandbox."""
    owner = {field: status.labels.get(label, _DEFAULT_OWNER) for field, label in OWNER_LABELS.items()}
    disk = _disk(status.disk_bytes)
    return {
        "sandbox_id": status.sandbox_id,
        "status": {name: _phase(phase) for name, phase in _phases(status).items()},
        "state": status.state.value,
        "port_mapping": _ports(status),
        "host_name": status.node or gateway[0],
        "host_ip": status.host_ip or gateway[1],
        "is_alive": status.state is State.RUNNING and SILENT not in status.warnings,
        "image": status.image,
        "metadata": None,
        "gateway_version": version("rock-nomad"),
        "swe_rex_version": None,
        **owner,
        "cpus": status.cpus,
        "memory": _memory(status.memory_bytes),
        "num_gpus": float(status.gpus) if status.gpus else None,
        "accelerator_type": status.gpu_type,
        "disk": disk,
        "disk_limit_rootfs": disk,
        "start_time": _time(status.started_at),
        "stop_time": _time(status.stopped_at),
        "create_time": _time(status.created_at),
        "archive_time": None,
        "delete_time": None,
        "auto_stop_time": _time(_next_end(status)),
        "auto_archive_time": None,
        "auto_delete_time": None,
        "state_history": [
            {
                "from_state": each.from_state.value,
                "to_state": each.to_state.value,
                "event": each.event,
                "timestamp": _time(each.at),
            }
            for each in status.history
        ],
    }


def _phases(status: SandboxStatus) -> dict[str, PhaseStatus]:
    """ROCK's phases: `image_pull` and `docker_run`, and ahead of them `placement`, which is what most wait for."""
    waiting = PhaseStatus(status=Phase.WAITING, message="waiting")
    start, rocklet = status.phases.get("task_start", waiting), status.phases.get("rocklet", waiting)
    return {
        "placement": status.phases.get("placement", waiting),
        "image_pull": status.phases.get("image_pull", waiting),
        "docker_run": rocklet if start.status is Phase.SUCCESS else start,
    }


def _phase(phase: PhaseStatus) -> _Json:
    times = {"started_at": _time(phase.started_at), "completed_at": _time(phase.completed_at)}
    said = {"status": phase.status.value, "message": phase.message or phase.status.value}
    return {**said, **{name: value for name, value in times.items() if value is not None}}


def _ports(status: SandboxStatus) -> dict[str, int]:
    """Where ROCK's one port that exists here is found: other ports are reached through the gateway."""
    port = URL(status.rocklet.url).port if status.rocklet is not None else None
    return {"22555": port} if port is not None else {}


def _next_end(status: SandboxStatus) -> float | None:
    deadlines = (status.deadlines.idle, status.deadlines.max_lifetime, status.deadlines.lease)
    return min((at for at in deadlines if at is not None), default=None)


def _memory(size: int) -> str:
    return f"{size / 2**30:.2f}g"


def _disk(size: int | None) -> str | None:
    return None if size is None else f"{size / 2**30:g}G"


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


# -------------------------------------------------------------------------------------------------------- commands


def render_observation(request: RunRequest, observation: Observation) -> _Json:
    """What a command in a session did.

    Raises CommandTimeout, Canceled; CommandFailed: it failed, and the request wants that to be an error.
    """
    output, exit_code = quirks.clean_output(observation.output), observation.exit_code
    reason = _reason(observation.failure_reason, observation.cut_bytes)
    if observation.timed_out:
        limit = f"timeout after {request.timeout} seconds while running command {request.command!r}"
        raise CommandTimeout(f"{limit}. Here is the output so far:\n{_shown(output)}")
    if observation.canceled:
        raise Canceled(f"command {request.command!r}: {reason}. Here is the output so far:\n{_shown(output)}")
    if request.is_interactive_command and exit_code is None:
        exit_code = 0
    if request.check == "raise" and exit_code:
        raise CommandFailed(
            f"{_prefix(request.error_msg)}Command {request.command!r} failed with exit code {exit_code}. "
            f"Here is the output:\n{_shown(output)}{_suffix(reason)}",
            details={"exit_code": exit_code},
        )
    return {
        "session_type": "bash",
        "output": output,
        "exit_code": None if request.check == "ignore" else exit_code,
        "failure_reason": reason,
        "expect_string": observation.expect_string or quirks.NOTHING_EXPECTED,
    }


def render_execution(request: ExecuteRequest, output: CommandOutput) -> _Json:
    """What a program did; what ended it, other than itself, stands in its stderr."""
    exit_code, reason = output.exit_code, _reason(output.failure_reason, output.cut_bytes)
    if request.check and exit_code:
        reason = f"{_prefix(request.error_msg)}failed with exit code {exit_code}{_suffix(reason)}"
        exit_code = None
    stderr = output.stderr
    if reason:
        stderr = f"{stderr.rstrip()}\n{reason}".lstrip()
    return {"stdout": output.stdout, "stderr": stderr, "exit_code": -1 if exit_code is None else exit_code}


def syntax_error(request: RunRequest, complaint: str) -> CommandFailed:
    """The error for a command that cannot be parsed, in the words that clients look for."""
    return CommandFailed(
        f"Error (exit code 2) while checking bash command \n{request.command!r}\n---- Stderr ----\n"
        f"{complaint}\n---- Stdout ----\n",
        details={"exit_code": 2},
    )


def _reason(said: str, cut_bytes: int) -> str:
    cut = f"{cut_bytes} bytes were cut from the middle of the output" if cut_bytes else ""
    return "; ".join(filter(None, (said, cut)))


def _shown(output: str) -> str:
    if len(output) <= _OUTPUT_SHOWN:
        return repr(output)
    return f"(the last {_OUTPUT_SHOWN} characters) {output[-_OUTPUT_SHOWN:]!r}"


def _prefix(said: str) -> str:
    return f"{said}: " if said else ""


def _suffix(said: str) -> str:
    return f"\n{said}" if said else ""
