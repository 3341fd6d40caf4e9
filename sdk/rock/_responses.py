"""What a `Sandbox` answers, in ROCK's names: mutable pydantic models with rl-rock's fields and defaults.

Source: rl-rock 1.11, `rock/actions/sandbox/response.py`.  `_convert` makes them from wire structs.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from rock.wire.codes import codes

__all__ = [
    "BaseResponse",
    "BashObservation",
    "ChmodResponse",
    "ChownResponse",
    "CloseBashSessionResponse",
    "CloseResponse",
    "CloseSessionResponse",
    "CommandResponse",
    "CommitErrorCode",
    "CommitPhase",
    "CommitStatusResponse",
    "CreateBashSessionResponse",
    "CreateSessionResponse",
    "DownloadFileResponse",
    "ExecuteBashSessionResponse",
    "FileUploadResponse",
    "IsAliveResponse",
    "Observation",
    "OssSetupResponse",
    "ReadFileResponse",
    "ResponseStatus",
    "RockResponse",
    "SandboxResponse",
    "SandboxStatusResponse",
    "State",
    "StateTransitionRecord",
    "UploadResponse",
    "WriteFileResponse",
]


T = TypeVar("T")


class ResponseStatus(str, Enum):
    """Whether a call of ROCK's wire has succeeded."""

    SUCCESS = "Success"
    FAILED = "Failed"


class BaseResponse(BaseModel):
    """The envelope of ROCK's wire, empty."""

    status: ResponseStatus = ResponseStatus.SUCCESS
    message: str | None = None
    error: str | None = None


class RockResponse(BaseResponse, Generic[T]):
    """The envelope of ROCK's wire."""

    result: T | None = None


class SandboxResponse(BaseModel):
    """What went wrong with a call about a sandbox."""

    code: codes | None = None
    exit_code: int | None = None
    failure_reason: str | None = None


class State(str, Enum):
    """Where a sandbox is in its life.  There is no archive, so the last three are never seen here."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    ARCHIVING = "archiving"
    ARCHIVED = "archived"
    DELETED = "deleted"


class StateTransitionRecord(BaseModel):
    """A change of state."""

    from_state: str
    to_state: str
    event: str
    timestamp: str
    """ISO 8601, UTC."""


class IsAliveResponse(BaseModel):
    """Whether a sandbox's rocklet answers; true or false as it says."""

    is_alive: bool
    message: str = ""

    def __bool__(self) -> bool:
        return self.is_alive


class SandboxStatusResponse(BaseModel):
    """What is known about a sandbox.  Times are ISO 8601, UTC."""

    sandbox_id: str | None = None
    status: dict[Any, Any] | None = None
    """The phases of its start, each with `status` and `message`."""
    port_mapping: dict[Any, Any] | None = None
    host_name: str | None = None
    host_ip: str | None = None
    is_alive: bool = True
    image: str | None = None
    gateway_version: str | None = None
    swe_rex_version: str | None = None
    user_id: str | None = None
    experiment_id: str | None = None
    namespace: str | None = None
    cpus: float | None = None
    memory: str | None = None
    num_gpus: float | None = None
    accelerator_type: str | None = None
    disk: str | None = None
    disk_limit_rootfs: str | None = Field(default=None, deprecated="Use 'disk' instead")
    state: State | None = None
    start_time: str | None = None
    stop_time: str | None = None
    create_time: str | None = None
    archive_time: str | None = None
    delete_time: str | None = None
    auto_stop_time: str | None = None
    """The earliest of its clocks' ends, as things stand."""
    auto_archive_time: str | None = None
    auto_delete_time: str | None = None
    state_history: list[StateTransitionRecord] = []
    reason: str | None = None
    """Why it ended; not in ROCK."""
    message: str = ""
    """What it waits for, or how it ended, in a sentence; not in ROCK."""


class CommitPhase(str, Enum):
    """How far a commit has come."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class CommitErrorCode(str, Enum):
    """Why a commit has failed."""

    SANDBOX_NOT_FOUND = "SANDBOX_NOT_FOUND"
    WORKER_NOT_FOUND = "WORKER_NOT_FOUND"
    WORKER_UNREACHABLE = "WORKER_UNREACHABLE"
    SANDBOX_CONTAINER_NOT_FOUND = "SANDBOX_CONTAINER_NOT_FOUND"
    COMMIT_CONFLICT = "COMMIT_CONFLICT"
    DISPATCH_FAILED = "DISPATCH_FAILED"
    LOGIN_FAILED = "LOGIN_FAILED"
    COMMIT_FAILED = "COMMIT_FAILED"
    PUSH_FAILED = "PUSH_FAILED"
    TIMEOUT = "TIMEOUT"
    PROCESS_LOST = "PROCESS_LOST"
    STATUS_NOT_FOUND = "STATUS_NOT_FOUND"
    STATUS_CORRUPTED = "STATUS_CORRUPTED"


class CommitStatusResponse(BaseModel):
    """What is known about a commit.  Times are ISO 8601."""

    sandbox_id: str
    image_tag: str
    phase: CommitPhase
    started_at: str
    completed_at: str | None = None
    exit_code: int | None = None
    failed_stage: str | None = None
    error_code: CommitErrorCode | None = None
    error_message: str | None = None


class CommandResponse(BaseModel):
    """What a program did."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None


class BashObservation(BaseModel):
    """What a command in a session did."""

    session_type: Literal["bash"] = "bash"
    output: str = ""
    """What it printed, stdout and stderr together, without white space at both ends."""
    exit_code: int | None = None
    failure_reason: str = ""
    """What befell it other than its own exit code."""
    expect_string: str = ""


class CreateBashSessionResponse(BaseModel):
    """A session was made, or was there already."""

    output: str = ""
    """What its start-up files printed."""
    session_type: Literal["bash"] = "bash"


class CloseBashSessionResponse(BaseModel):
    """A session was closed, or was not there."""

    session_type: Literal["bash"] = "bash"


class ExecuteBashSessionResponse(BaseModel):
    """How a background command ended."""

    success: bool = False
    message: str = ""


class OssSetupResponse(BaseModel):
    """Whether an object store was set up."""

    success: bool = False
    message: str = ""


class ReadFileResponse(BaseModel):
    """A file's text."""

    content: str = ""


class WriteFileResponse(BaseModel):
    """Whether a file was written."""

    success: bool = False
    message: str = ""


class UploadResponse(BaseModel):
    """Whether a file was uploaded."""

    success: bool = False
    message: str = ""
    file_name: str = ""


class DownloadFileResponse(BaseModel):
    """Whether a file was downloaded."""

    success: bool = False
    message: str = ""


class ChownResponse(BaseModel):
    """Whether files were given away."""

    success: bool = False
    message: str = ""


class ChmodResponse(BaseModel):
    """Whether files' modes were changed."""

    success: bool = False
    message: str = ""


class CloseResponse(BaseModel):
    """A client was closed."""


# ROCK's names for unions that have one member.  Its users call them, so they are the class itself.
CloseSessionResponse = CloseBashSessionResponse
CreateSessionResponse = CreateBashSessionResponse
FileUploadResponse = UploadResponse
Observation = BashObservation
