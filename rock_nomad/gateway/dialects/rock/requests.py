"""ROCK's requests, and what they say in operations of ours.

As ROCK's server does, unknown keys are passed over, null is as good as absent and numbers may be texts.
Source: rl-rock 1.11, `rock/admin/proto/request.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from rock.wire import messages as m
from rock.wire.codec import convert
from rock.wire.errors import InvalidRequest, RockException
from rock.wire.sizes import parse_size
from rock.wire.spec import SandboxSpec
from rock_nomad.gateway.dialects.rock import quirks

__all__ = [
    "OWNER_LABELS",
    "BatchRequest",
    "CloseSessionRequest",
    "CreateSessionRequest",
    "ExecuteRequest",
    "ListRequest",
    "Nothing",
    "ReadFileRequest",
    "RunRequest",
    "SandboxRequest",
    "StartRequest",
    "StatusRequest",
    "WriteFileRequest",
    "to_create_session",
    "to_execute",
    "to_list",
    "to_run",
    "to_spec",
    "translate",
    "wire",
]

OWNER_LABELS = {"user_id": "rock.user_id", "experiment_id": "rock.experiment_id", "namespace": "rock.namespace"}
"""ROCK's words for whose a sandbox is, as labels; its SDK's headers, and the keys of its listing."""

_T = TypeVar("_T")
_Text = Annotated[str, Meta(pattern=r"\S", description="a text that is not blank")]
_Whole = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Nothing(_Request, frozen=True, kw_only=True):
    """A call that says nothing, or nothing that is heeded."""


class StartRequest(_Request, frozen=True, kw_only=True):
    """`start_async`."""

    image: _Text
    image_os: str = "linux"
    auto_clear_time_minutes: Annotated[float, Meta(gt=0, description="minutes, more than 0")] = 30
    pull: str = "missing"
    memory: str | int = "8g"
    cpus: float = 2.0
    limit_cpus: float | None = None
    disk: str | int | None = None
    num_gpus: float | None = None
    accelerator_type: str | None = None
    sandbox_id: str | None = None
    registry_username: str | None = None
    registry_password: str | None = None
    startup_timeout: float | None = None
    use_kata_runtime: bool = False
    auto_archive_seconds: _Whole | None = None
    auto_delete_seconds: _Whole | None = None

    def __repr__(self) -> str:
        return f"StartRequest(image={self.image!r}, sandbox_id={self.sandbox_id!r})"


class SandboxRequest(_Request, frozen=True, kw_only=True):
    """A call about one sandbox."""

    sandbox_id: _Text


class StatusRequest(SandboxRequest, frozen=True, kw_only=True):
    """`get_status`."""

    include_all_states: bool = False


class BatchRequest(_Request, frozen=True, kw_only=True):
    """`sandboxes/batch`."""

    sandbox_ids: Annotated[list[_Text], Meta(max_length=2000, description="at most 2000 sandbox ids")]


class ListRequest(_Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`sandboxes`: a key that is passed over would show somebody else's sandboxes as one's own."""

    page: Annotated[int, Meta(ge=1, description="1 or more")] = 1
    page_size: Annotated[int, Meta(ge=1, le=2000, description="1 to 2000")] = 500
    user_id: str | None = None
    experiment_id: str | None = None
    namespace: str | None = None
    image: str | None = None
    state: Literal["pending", "running", "stopped"] | None = None


class CreateSessionRequest(SandboxRequest, frozen=True, kw_only=True):
    """`create_session`."""

    session: str = "default"
    session_type: Literal["bash"] = "bash"
    startup_source: list[str] = []
    env: dict[str, str] = {}
    remote_user: str | None = None
    startup_timeout: float | None = None


class RunRequest(SandboxRequest, frozen=True, kw_only=True):
    """`run_in_session`."""

    command: str
    session: str = "default"
    action_type: Literal["bash"] = "bash"
    check: Literal["raise", "silent", "ignore"] = "raise"
    timeout: float | None = None
    is_interactive_command: bool = False
    is_interactive_quit: bool = False
    expect: list[str] = []
    error_msg: str = ""


class CloseSessionRequest(SandboxRequest, frozen=True, kw_only=True):
    """`close_session`."""

    session: str = "default"
    session_type: Literal["bash"] = "bash"


class ExecuteRequest(SandboxRequest, frozen=True, kw_only=True):
    """`execute`."""

    command: str | list[str]
    timeout: float | None = None
    cwd: str | None = None
    env: dict[str, str] = {}
    check: bool = False
    error_msg: str = ""


class ReadFileRequest(SandboxRequest, frozen=True, kw_only=True):
    """`read_file`."""

    path: str
    encoding: str | None = None
    errors: str | None = None


class WriteFileRequest(SandboxRequest, frozen=True, kw_only=True):
    """`write_file`."""

    path: str
    content: str


def wire(kind: type[_T], **fields: Any) -> _T:  # noqa: ANN401 - a struct's fields
    """A request of the wire's, as strictly checked as if a client had sent it; None is as good as absent.

    Raises InvalidRequest.
    """
    return convert(kind, {name: value for name, value in fields.items() if value is not None})


_SPEC_FIELDS = {
    "memory_bytes": "memory",
    "disk_bytes": "disk",
    "gpus": "num_gpus",
    "gpu_type": "accelerator_type",
    "idle_timeout": "auto_clear_time_minutes",
    "isolation": "use_kata_runtime",
    "registry.username": "registry_username",
    "registry.password": "registry_password",
}
_FIELDS = {
    **_SPEC_FIELDS,
    "user": "remote_user",
    "interactive": "is_interactive_command",
    "interactive_quit": "is_interactive_quit",
}


_OUR_WORDS = re.compile(rf"\b(?:{'|'.join(map(re.escape, _FIELDS))})\b(?!')")  # but for a value, in quotes


def translate(error: RockException) -> RockException:
    """A complaint about a field of the wire's, with the name that ROCK has for it."""
    ours = str(error.details.get("field", ""))
    theirs = _FIELDS.get(ours)
    if theirs is None or not isinstance(error, InvalidRequest):
        return error
    if ours == "isolation":
        offered = str(error.details.get("expected", "")).removeprefix("one of ")
        return _invalid(theirs, True, f"left out: this cluster offers {offered}")
    message = _OUR_WORDS.sub(lambda word: _FIELDS[word[0]], error.message)
    return InvalidRequest(message, reason=error.reason, details={**error.details, "field": theirs})


def to_spec(request: StartRequest, headers: Mapping[str, str]) -> SandboxSpec:
    """The sandbox that a start asks for; whose it is stands in its headers.

    Raises InvalidRequest.
    """
    if request.image_os != "linux":
        raise _invalid("image_os", request.image_os, "linux")
    if request.auto_archive_seconds is not None and request.auto_delete_seconds is not None:
        expected = "left out where auto_delete_seconds is set"
        raise _invalid("auto_archive_seconds", request.auto_archive_seconds, expected)
    return wire(
        SandboxSpec,
        sandbox_id=request.sandbox_id,
        image=request.image.strip(),
        cpus=request.cpus,
        limit_cpus=request.limit_cpus,
        memory_bytes=_bytes("memory", request.memory),
        disk_bytes=_bytes("disk", request.disk) if request.disk not in (None, quirks.DEFAULT_DISK) else None,
        gpus=_gpus(request.num_gpus),
        gpu_type=request.accelerator_type,
        isolation="kata" if request.use_kata_runtime else None,
        registry=_registry(request),
        startup_timeout=request.startup_timeout,
        idle_timeout=request.auto_clear_time_minutes * 60,
        pull=request.pull,
        labels=_owner(headers),
    )


def to_create_session(request: CreateSessionRequest) -> m.CreateSessionRequest:
    """The session that is asked for; one that is there is kept.

    Raises InvalidRequest.
    """
    return wire(
        m.CreateSessionRequest,
        session=request.session,
        env=request.env,
        startup_source=request.startup_source,
        user=request.remote_user,
        startup_timeout=request.startup_timeout,
        idle_timeout=quirks.TEMPORARY_IDLE_TIMEOUT if quirks.is_temporary(request.session) else None,
        on_existing="keep",
    )


def to_run(request: RunRequest) -> m.RunRequest:
    """The command that is to be run.  What goes to an interactive program is no shell's, so no shell reads it first.

    Raises InvalidRequest.
    """
    return wire(
        m.RunRequest,
        command=request.command,
        session=request.session,
        timeout=request.timeout,
        interactive=request.is_interactive_command,
        interactive_quit=request.is_interactive_quit,
        expect=request.expect,
        check_syntax=not (request.is_interactive_command or request.is_interactive_quit),
        announces=quirks.ANNOUNCEMENT,
    )


def to_execute(request: ExecuteRequest) -> m.ExecuteRequest:
    """The program that is to be run.

    Raises InvalidRequest.
    """
    return wire(m.ExecuteRequest, command=request.command, timeout=request.timeout, cwd=request.cwd, env=request.env)


def to_list(request: ListRequest) -> m.ListSandboxesRequest:
    """The page that is asked for.

    Raises InvalidRequest.
    """
    owner = {label: getattr(request, field) for field, label in OWNER_LABELS.items()}
    return wire(
        m.ListSandboxesRequest,
        state=request.state,
        image=request.image,
        label=[f"{label}={value}" for label, value in owner.items() if value is not None],
        limit=request.page_size,
        offset=(request.page - 1) * request.page_size,
        count=True,
    )


def _bytes(field: str, size: str | int) -> int:
    try:
        return parse_size(size)
    except ValueError as error:
        raise _invalid(field, size, "a number and a unit, such as 512m or 8g") from error


def _gpus(wanted: float | None) -> int | None:
    if wanted is None:
        return None
    if wanted.is_integer():
        return int(wanted)
    raise _invalid("num_gpus", wanted, "a whole number of GPUs")


def _registry(request: StartRequest) -> dict[str, str] | None:
    said = {"username": request.registry_username, "password": request.registry_password}
    given = {name: value for name, value in said.items() if value}
    if len(given) == 1:
        missing = next(name for name in said if name not in given)
        raise _invalid(f"registry_{missing}", None, "given together with the other of the pair")
    return given or None


def _owner(headers: Mapping[str, str]) -> dict[str, str]:
    said = {label: headers.get(f"X-{field.replace('_', '-').title()}", "") for field, label in OWNER_LABELS.items()}
    return {label: value for label, value in said.items() if value}


def _invalid(field: str, value: object, expected: str) -> InvalidRequest:
    shown = repr(value)[:80]
    return InvalidRequest(
        f"{field} is {shown}; it must be {expected}", details={"field": field, "value": shown, "expected": expected}
    )
