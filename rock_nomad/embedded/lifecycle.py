"""The life of one allocation: its state and an event give the next state and what is to be done.  Pure.

Source of events, their texts and the statuses: recordings of Nomad 2.0.5 (restart policy without attempts).
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from rock_nomad.embedded.rows import Row, task_event
from rock_nomad.embedded.units import format_duration, format_time

MAX_RUN_TEXT = "allocation exceeded max_run_duration"


@dataclass(frozen=True)
class Received:
    """The client has the allocation."""


@dataclass(frozen=True)
class DirectoryBuilt:
    """The task's directory exists."""


@dataclass(frozen=True)
class DriverSaid:
    """The driver tells what goes on before the task has started."""

    text: str
    details: dict[str, str]


@dataclass(frozen=True)
class Started:
    """The driver has started the task."""


@dataclass(frozen=True)
class StartFailed:
    """The driver could not start the task; `text` is the driver's."""

    text: str


@dataclass(frozen=True)
class Exited:
    """The task's process is gone."""

    exit_code: int
    signal: int = 0
    oom_killed: bool = False
    message: str = ""


@dataclass(frozen=True)
class StopRequested:
    """The job was deregistered."""


@dataclass(frozen=True)
class MaxRunReached:
    """The allocation is older than its job allows."""


Event = Received | DirectoryBuilt | DriverSaid | Started | StartFailed | Exited | StopRequested | MaxRunReached


class Effect(Enum):
    """What the client does after an event, in the order given."""

    START = "start"
    REGISTER_GROUP_SERVICES = "register the group's services"
    REGISTER_TASK_SERVICES = "register the task's services"
    DEREGISTER_SERVICES = "deregister services"
    KILL = "kill"


@dataclass(frozen=True)
class Life:
    """Where an allocation stands, as its client sees it."""

    task: str
    kill_timeout: int  # nanoseconds
    status: str = "pending"  # Nomad's ClientStatus
    description: str = ""
    task_state: str = "pending"
    events: tuple[Row, ...] = ()
    is_failed: bool = False
    is_killing: bool = False
    has_overrun: bool = False
    started_at: str | None = None
    finished_at: str | None = None

    @property
    def is_over(self) -> bool:
        """No event changes it any more."""
        return self.task_state == "dead"

    def client_fields(self) -> Row:
        """The fields of the allocation that its client reports."""
        state = {
            "Events": list(self.events), "Failed": self.is_failed, "FinishedAt": self.finished_at, "LastRestart": None,
            "Paused": "", "Restarts": 0, "StartedAt": self.started_at, "State": self.task_state,
        }  # fmt: skip
        return {
            "ClientStatus": self.status,
            "ClientDescription": self.description,
            "TaskStates": {self.task: state},
            "NetworkStatus": {"Address": "", "AddressIPv6": "", "DNS": None, "InterfaceName": ""},
        }


def advance(life: Life, event: Event, at: int) -> tuple[Life, tuple[Effect, ...]]:
    """The next state, and what is to be done; `at` in nanoseconds since the epoch.  Nothing changes what is over."""
    if life.is_over:
        return life, ()
    match event:
        case Received():
            return _log(life, "Received", at, "Task received by client"), (Effect.REGISTER_GROUP_SERVICES,)
        case DirectoryBuilt():
            return _built(life, at)
        case DriverSaid(text, details):
            return _log(life, "Driver", at, text, details, DriverMessage=text), ()
        case Started():
            return _started(life, at)
        case StartFailed(text):
            failed = _log(life, "Driver Failure", at, text, {"driver_error": text}, DriverError=text)
            return _end(_give_up(failed, at), at), (Effect.DEREGISTER_SERVICES,)
        case Exited():
            return _exited(life, event, at)
        case StopRequested():
            return _kill(life, at, f"Sent interrupt. Waiting {format_duration(life.kill_timeout)} before force killing")
        case MaxRunReached():
            return _kill(replace(life, has_overrun=True), at, MAX_RUN_TEXT)
    assert_never(event)


def _built(life: Life, at: int) -> tuple[Life, tuple[Effect, ...]]:
    text = "Building Task Directory"
    built = _log(life, "Task Setup", at, text, {"message": text}, Message=text)
    if life.is_killing:
        return _end(built, at), (Effect.DEREGISTER_SERVICES,)
    return built, (Effect.START,)


def _started(life: Life, at: int) -> tuple[Life, tuple[Effect, ...]]:
    running = replace(life, status="running", description="Tasks are running", task_state="running")
    running = _log(replace(running, started_at=format_time(at)), "Started", at, "Task started by client")
    # A stop that came while the driver was starting: now there is something to kill.
    return running, (Effect.KILL,) if life.is_killing else (Effect.REGISTER_TASK_SERVICES,)


def _exited(life: Life, exit_: Exited, at: int) -> tuple[Life, tuple[Effect, ...]]:
    display = f"Exit Code: {exit_.exit_code}"
    display += f", Signal: {exit_.signal}" if exit_.signal else ""
    display += f', Exit Message: "{exit_.message}"' if exit_.message else ""
    details = {
        "exit_code": str(exit_.exit_code), "signal": str(exit_.signal), "oom_killed": str(exit_.oom_killed).lower(),
    }  # fmt: skip
    if exit_.message:
        details["exit_message"] = exit_.message
    life = _log(
        life, "Terminated", at, display, details, ExitCode=exit_.exit_code, Signal=exit_.signal, Message=exit_.message
    )
    if life.is_killing:
        life = _log(life, "Killed", at, "Task successfully killed")
    elif exit_.exit_code != 0 or exit_.signal != 0:
        life = _give_up(life, at)
    return _end(life, at), (Effect.DEREGISTER_SERVICES,)


def _kill(life: Life, at: int, display: str) -> tuple[Life, tuple[Effect, ...]]:
    if life.is_killing:
        return life, ()
    timeout = {"kill_timeout": format_duration(life.kill_timeout)}
    killing = replace(
        _log(life, "Killing", at, display, timeout, KillTimeout=life.kill_timeout),
        is_killing=True,
    )
    return killing, (Effect.DEREGISTER_SERVICES, Effect.KILL)


def _give_up(life: Life, at: int) -> Life:
    text = "Policy allows no restarts"
    details = {"restart_reason": text, "fails_task": "true"}
    life = _log(life, "Not Restarting", at, text, details, FailsTask=True, RestartReason=text)
    return replace(life, is_failed=True)


def _end(life: Life, at: int) -> Life:
    status, text = ("failed", "Failed tasks") if life.is_failed else ("complete", "All tasks have completed")
    if life.has_overrun:
        status, text = "complete", MAX_RUN_TEXT
    return replace(life, status=status, description=text, task_state="dead", finished_at=format_time(at))


def _log(life: Life, kind: str, at: int, display: str, details: dict[str, str] | None = None, **fields: object) -> Life:
    return replace(life, events=(*life.events, task_event(kind, at, display, details or {}, **fields)))
