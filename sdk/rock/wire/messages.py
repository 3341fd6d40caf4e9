"""What travels to a sandbox and back: a request and a result for each operation.

Requests refuse unknown fields, because a misspelt option that is ignored is a wrong experiment; results ignore them, so
that an old client can talk to a newer server.  Text is UTF-8; output bytes that are none are written as `\\xNN`.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rock.wire.reasons import Reason
from rock.wire.spec import EnvName, EnvValue, SandboxSpec, Seconds, Text

__all__ = [
    "DEFAULT_OUTPUT_LIMIT",
    "ArchiveRequest",
    "CancelRequest",
    "CancelResult",
    "Clocks",
    "ClusterInfo",
    "CommandOutput",
    "CreateSandboxRequest",
    "CreateSessionRequest",
    "Deadlines",
    "DownloadRequest",
    "Empty",
    "ExecuteRequest",
    "FileContent",
    "FileFacts",
    "GetSandboxRequest",
    "InterruptRequest",
    "ListSandboxesRequest",
    "Observation",
    "OutputLimit",
    "Path",
    "Phase",
    "PhaseStatus",
    "Plan",
    "ProcessEnd",
    "ProcessId",
    "ReadFileRequest",
    "RenderedJob",
    "RenewLeaseRequest",
    "RockletEndpoint",
    "RockletExit",
    "RockletStatus",
    "RunRequest",
    "SandboxList",
    "SandboxStatus",
    "Session",
    "SessionList",
    "SessionName",
    "SessionRequest",
    "ShellText",
    "State",
    "Transition",
    "UnpackRequest",
    "Unpacked",
    "UploadRequest",
    "WaitProcessRequest",
    "WriteFileRequest",
]


class _Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message to a server."""


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    """A message from a server."""


SessionName = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f/]{1,128}\Z", description="1 to 128 characters without / and control characters")
]
Path = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]*\Z", description="an absolute path")]
ShellText = Annotated[str, Meta(max_length=8 * 2**20, pattern=r"^[^\x00]*\Z", description="shell text without NUL")]
_Argument = Annotated[str, Meta(max_length=131_072, pattern=r"^[^\x00]*\Z", description="text without NUL")]
ProcessId = Annotated[int, Meta(ge=1, le=2**31 - 1, description="a process id")]
OutputLimit = Annotated[int, Meta(ge=1024, le=2**28, description="bytes, 1 KiB to 256 MiB")]

DEFAULT_OUTPUT_LIMIT = 64 * 2**20  # bytes of an output that are kept; the same for ROCK


class Empty(_Request, frozen=True, kw_only=True):
    """Nothing to say beyond what the path names."""


# ------------------------------------------------------------------------------------------------------ lifecycle


class State(str, Enum):
    """Where a sandbox is in its life, as Nomad and its rocklet tell it."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"


class Phase(str, Enum):
    """How far one step of a sandbox's start has come."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"


class PhaseStatus(_Result, frozen=True, kw_only=True):
    """One step of the start: `placement`, `image_pull`, `task_start` or `rocklet`."""

    status: Phase
    message: str = ""
    started_at: float | None = None
    """Unix seconds, by Nomad's clock."""
    completed_at: float | None = None


class Transition(_Result, frozen=True, kw_only=True):
    """A change of state."""

    from_state: State
    to_state: State
    event: str
    at: float
    """Unix seconds, by Nomad's clock."""


class Deadlines(_Result, frozen=True, kw_only=True):
    """When a sandbox will end if nothing happens; unix seconds, None where unknown or unlimited."""

    startup: float | None = None
    idle: float | None = None
    max_lifetime: float | None = None
    lease: float | None = None


class RockletEndpoint(_Result, frozen=True, kw_only=True):
    """Where a sandbox's rocklet listens and what it wants to be shown.  Keep it in memory only."""

    sandbox_id: str
    url: str
    """`http://host:port`, reachable inside the operator's network."""
    token: str
    alloc_id: str

    def __repr__(self) -> str:
        return f"RockletEndpoint(sandbox_id={self.sandbox_id!r}, url={self.url!r})"


class SandboxStatus(_Result, frozen=True, kw_only=True):
    """What is known about one sandbox."""

    sandbox_id: str
    state: State
    reason: Reason | None = None
    """Why it ended; None while it lives, and where the evidence is gone."""
    message: str = ""
    """One sentence: what it waits for, or how it ended."""
    phases: dict[str, PhaseStatus] = {}
    image: str = ""
    cpus: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int | None = None
    gpus: int = 0
    gpu_type: str | None = None
    device_ids: list[str] = []
    """The devices it holds."""
    isolation: str = ""
    labels: dict[str, str] = {}
    tenant: str = ""
    created_at: float | None = None
    """Unix seconds, by Nomad's clock; likewise the next two."""
    started_at: float | None = None
    stopped_at: float | None = None
    exit_code: int | None = None
    deadlines: Deadlines = Deadlines()
    history: list[Transition] = []
    warnings: list[str] = []
    alloc_id: str | None = None
    node: str | None = None
    """The name of the machine it runs on."""
    host_ip: str | None = None
    observed_by: Literal["nomad", "rocklet"] = "nomad"
    """Whose word it is: `rocklet` has answered just now, `nomad` may trail by a second."""
    rocklet: RockletEndpoint | None = None
    """Where to send actions; only for a running sandbox that was asked for alone."""


class CreateSandboxRequest(_Request, frozen=True, kw_only=True):
    """Start a sandbox.  The same id with the same spec is the same sandbox, however often it is asked for."""

    spec: SandboxSpec = SandboxSpec()
    hold: Annotated[float, Meta(ge=0, le=20, description="seconds, 0 to 20")] = 0.0
    """Answer when it is ready or has ended, or after so many seconds."""
    on_existing: Literal["keep", "replace_ended"] = "keep"
    """What to do if the id is in use: answer with the same sandbox, even an ended one; or take the id anew from one
    that has ended, where one that lives is 409 whatever its spec."""
    on_abandoned: Literal["keep", "stop"] = "keep"
    """What to do if the caller goes away before the answer: leave the sandbox to whoever asks again, or end it."""


class GetSandboxRequest(_Request, frozen=True, kw_only=True):
    """What is known about one sandbox."""

    hold: Annotated[float, Meta(ge=0, le=20, description="seconds, 0 to 20")] = 0.0
    """While it is pending, wait so long for that to change."""
    renew: bool = False
    """Start the idle clock of a running sandbox anew, as an action does."""


class ListSandboxesRequest(_Request, frozen=True, kw_only=True):
    """The tenant's sandboxes, newest first."""

    state: State | None = None
    reason: Reason | None = None
    image: Text | None = None
    label: list[Text] = []
    """Each as `name=value`; all must hold."""
    sandbox_id: list[Text] = []
    """Only these; those that do not exist are left out."""
    offset: Annotated[int, Meta(ge=0, description="0 or more")] = 0
    """How many to leave out first; a cursor holds where sandboxes come and go meanwhile, an offset does not."""
    count: bool = False
    """Whether to say how many match in all."""
    limit: Annotated[int, Meta(ge=1, le=2000, description="1 to 2000")] = 500
    cursor: Text | None = None
    """The `next_cursor` of the page before."""


class SandboxList(_Result, frozen=True, kw_only=True):
    """A page of sandboxes."""

    sandboxes: list[SandboxStatus]
    next_cursor: str | None = None
    total: int | None = None
    """How many match, if that was asked."""


class RenderedJob(_Result, frozen=True, kw_only=True):
    """The Nomad job that a spec becomes, as Nomad's API takes it."""

    job: dict[str, Any]


class Plan(_Result, frozen=True, kw_only=True):
    """What Nomad would do with a spec now; nothing is registered."""

    fits: bool
    """Whether it would be placed at once."""
    impossible: bool = False
    """Whether no node could ever hold it."""
    message: str = ""
    warnings: list[str] = []


class ClusterInfo(_Result, frozen=True, kw_only=True):
    """Whom one is talking to."""

    name: str
    version: str
    nomad: str
    """The Nomad's name and version; `rock-nomad-embedded` where it is ours."""
    consul: str
    isolations: list[str]
    embedded: bool


# ------------------------------------------------------------------------------------------------------- sessions


class CreateSessionRequest(_Request, frozen=True, kw_only=True):
    """Start a bash on a PTY of its own."""

    session: SessionName = "default"
    env: dict[EnvName, EnvValue] = {}
    """Added to the sandbox's environment."""
    startup_source: list[Path] = []
    """Files to source, in order, before the first command."""
    cwd: Path | None = None
    user: Text | None = None
    """Run as this user of the sandbox; None: as the rocklet's own."""
    startup_timeout: Seconds = 10.0
    idle_timeout: Seconds | None = None
    """Close the session when nothing was run in it for so long; None: it lives as long as the sandbox."""
    on_existing: Literal["error", "keep"] = "error"
    """What to do if the session exists: 409, or answer as if it had just been made."""


class Session(_Result, frozen=True, kw_only=True):
    """A live session."""

    session: str
    shell: str = "bash"
    """The shell that runs it: `sh` where the image has no bash."""
    pid: int
    output: str = ""
    """What the start-up files printed."""
    existed: bool = False
    warnings: list[str] = []
    """In what it is less than a bash, in sentences."""

    def said(self) -> str:
        """The warnings and what the start-up files printed, for ROCK's clients, who read one text."""
        return "".join([*(f"{warning}\n" for warning in self.warnings), self.output])


class SessionRequest(_Request, frozen=True, kw_only=True):
    """A call about one session."""

    session: SessionName = "default"


class SessionList(_Result, frozen=True, kw_only=True):
    """The sandbox's sessions."""

    sessions: list[Session]


class RunRequest(_Request, frozen=True, kw_only=True):
    """Run a command in a session, after those that wait there already."""

    command: ShellText
    session: SessionName = "default"
    timeout: Seconds | None = None
    """From the moment it starts; None: as long as the sandbox lives.  On time-out the command's process group is
    killed, the output so far is returned and the session stays usable."""
    silence_timeout: Seconds | None = None
    """The same, when it has printed nothing for so long."""
    interactive: bool = False
    """Start a program that talks back, or type the command into the one that runs."""
    expect: Annotated[list[Text], Meta(max_length=64)] = []
    """Texts; the call returns as soon as one is printed."""
    expect_patterns: bool = False
    """Whether `expect` has regular expressions (Python's `re`, on bytes) instead; a match spans at most 4 KiB."""
    interactive_quit: bool = False
    """The command makes the program in the foreground end."""
    max_output_bytes: OutputLimit = DEFAULT_OUTPUT_LIMIT
    """Beyond it the middle of the output is cut; `cut_bytes` says how much."""
    check_syntax: bool = False
    """Let the shell read the whole command first: what has a syntax error anywhere is not begun, but 422.  Without it,
    lines before the error are run."""
    announces: Annotated[str, Meta(max_length=64, description="up to 64 characters")] = ""
    """A word; a number printed right behind it is the id of a process for
    `wait_process`: it is watched from now on, so that no later one of the same number is taken for it."""


class Observation(_Result, frozen=True, kw_only=True):
    """What a command in a session did."""

    output: str
    """What it printed, stdout and stderr together, as a terminal would get it."""
    exit_code: int | None = None
    """None while an interactive program still runs, and when it was not learnt."""
    timed_out: bool = False
    canceled: bool = False
    failure_reason: str = ""
    """What befell the command other than its own exit code: a time-out, an interrupt, an end of the shell, OOM."""
    expect_string: str = ""
    """The expected text that was seen."""
    cut_bytes: int = 0
    """How many bytes were left out of the middle of `output`."""
    shell_restarted: bool = False
    """The shell ended (`exit`, `set -e`, a kill); a new one answers from now on, without variables and directory."""
    duration: float = 0.0
    """Seconds, from its start to its end."""


class InterruptRequest(_Request, frozen=True, kw_only=True):
    """Press Ctrl-C in a session, and harder if that does not help."""

    session: SessionName = "default"
    grace: Annotated[float, Meta(ge=0, le=60, description="seconds, 0 to 60")] = 1.0
    """How long Ctrl-C may take before the process group is killed."""


# -------------------------------------------------------------------------------------------------------- execute


class ExecuteRequest(_Request, frozen=True, kw_only=True):
    """Run one program, without a session."""

    command: Annotated[list[_Argument], Meta(min_length=1, max_length=65_536)] | ShellText
    """A list is an argv; a text is run by the sandbox's shell."""
    cwd: Path | None = None
    env: dict[EnvName, EnvValue] = {}
    """Added to the sandbox's environment."""
    inherit_env: bool = True
    """False: `env` is all of the program's environment, without even a PATH."""
    merge_streams: bool = False
    """Whether stderr goes where stdout goes, in the order of printing."""
    stdin: Annotated[str, Meta(max_length=64 * 2**20)] = ""
    timeout: Seconds | None = None
    """The process group is killed when it ends; None: no limit."""
    silence_timeout: Seconds | None = None
    """The same, when it has printed nothing for so long."""
    user: Text | None = None
    max_output_bytes: OutputLimit = DEFAULT_OUTPUT_LIMIT
    """For stdout and stderr each."""


class CommandOutput(_Result, frozen=True, kw_only=True):
    """What a program did."""

    stdout: str
    stderr: str
    exit_code: int | None = None
    """As a shell tells it: 128 + n after signal n.  None when it was killed by us."""
    timed_out: bool = False
    canceled: bool = False
    failure_reason: str = ""
    """What befell it other than its own exit code."""
    cut_bytes: int = 0
    duration: float = 0.0
    """Seconds."""


class WaitProcessRequest(_Request, frozen=True, kw_only=True):
    """Wait for a process that runs in the background."""

    pid: ProcessId
    hold: Annotated[float, Meta(ge=0, le=60, description="seconds, 0 to 60")] = 0.0
    """Answer when it has ended, or after so many seconds; never more than 2, or a thirtieth of the sandbox's idle
    timeout: whoever asks for a short one expects to hear often."""
    only_announced: bool = False
    """Wait for it only if a command has announced it; of any other process, say at once whether it runs."""


class ProcessEnd(_Result, frozen=True, kw_only=True):
    """Whether a process has ended, and how."""

    has_ended: bool
    """True also where there is no such process; one that nobody has reaped yet has ended."""
    exit_code: int | None = None
    """As a shell tells it: 128 + n after signal n.  None while it runs, and where its parent keeps it to itself: it is
    known of a process whose parent has ended, and for as long as few others have ended since."""
    failure_reason: str = ""
    """What befell it other than its own exit code."""
    is_watched: bool = False
    """Whether it is watched since it was announced, or first asked about, so that no later one is taken for it."""


# ---------------------------------------------------------------------------------------------------------- files


class ReadFileRequest(_Request, frozen=True, kw_only=True):
    """Read a text file whole; large or binary ones are better downloaded."""

    path: Path
    encoding: Annotated[str, Meta(max_length=64)] = "utf-8"
    errors: Literal["strict", "ignore", "replace", "backslashreplace", "surrogateescape"] = "strict"


class FileContent(_Result, frozen=True, kw_only=True):
    """A file's text."""

    content: str
    size: int
    """Bytes on disk."""


class WriteFileRequest(_Request, frozen=True, kw_only=True):
    """Write a text file; parents are created and the file is replaced in one step."""

    path: Path
    content: Annotated[str, Meta(max_length=64 * 2**20)]
    encoding: Annotated[str, Meta(max_length=64)] = "utf-8"
    mode: Annotated[int, Meta(ge=0, le=0o7777)] | None = None
    """Permission bits; None: those of the file that is replaced, or by umask."""


class UploadRequest(_Request, frozen=True, kw_only=True):
    """Write the request's body to a file; parents are created and the file is replaced in one step."""

    path: Path
    mode: Annotated[int, Meta(ge=0, le=0o7777)] | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 hex digits")] | None = None
    """Of the body; if given and different nothing is replaced."""


class FileFacts(_Result, frozen=True, kw_only=True):
    """A file as it now is."""

    path: str
    size: int
    """Bytes."""
    sha256: str | None = None
    """Of an uploaded body, 64 hex digits; None after a text, which is no stream that could lose a part."""


class DownloadRequest(_Request, frozen=True, kw_only=True):
    """A file's bytes, as the reply's body, with `Content-Length` and, if asked for, `X-Content-SHA256`.

    A file that changes meanwhile has another digest than its bytes: the client sees that and says so.
    """

    path: Path
    sha256: bool = True
    """Whether to read the file once more, first, for the digest of the bytes asked for."""
    offset: Annotated[int, Meta(ge=0)] = 0
    length: Annotated[int, Meta(ge=0)] | None = None
    follow: ProcessId | None = None
    """A process: go on with what is written to the file until it has ended.  Without digest and length, and in frames
    (`rock.wire.frames`), of which those on stdout are the file's bytes."""
    heartbeat: Seconds = 15.0
    """With `follow`: how long nothing is sent at most."""


# ------------------------------------------------------------------------------------------------ the rocklet itself


class ArchiveRequest(_Request, frozen=True, kw_only=True):
    """Copy a file or a whole directory, as a stream of `rock.wire.archives`."""

    path: Path


class UnpackRequest(_Request, frozen=True, kw_only=True):
    """Unpack a stream of `rock.wire.archives`."""

    path: Path
    name: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00/]*\Z", description="a file's name")] = ""
    """What its root is called if `path` is a directory; empty: it becomes `path` in any case."""


class Unpacked(_Result, frozen=True, kw_only=True):
    """Where a stream was unpacked."""

    path: str


class RockletStatus(_Result, frozen=True, kw_only=True):
    """The rocklet's word about itself."""

    sandbox_id: str
    is_alive: bool = True
    message: str = ""


class Clocks(_Result, frozen=True, kw_only=True):
    """How long a sandbox still has, by its own clocks; seconds from now, None where there is no such limit."""

    sandbox_id: str
    uptime: float
    idle_remaining: float | None = None
    """None while an action holds the idle clock."""
    max_lifetime_remaining: float
    lease_remaining: float | None = None
    actions_in_flight: int = 0
    sessions: int = 0
    pid: int


class RenewLeaseRequest(_Request, frozen=True, kw_only=True):
    """The trainer is still there."""

    lease: Seconds | None = None
    """A new length from now on; None: the one it has."""


class CancelRequest(_Request, frozen=True, kw_only=True):
    """End an action that another call, now abandoned, had started."""

    request_id: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,128}\Z", description="1 to 128 printable characters")]


class CancelResult(_Result, frozen=True, kw_only=True):
    """Whether there was something to end."""

    canceled: bool


class RockletExit(IntEnum):
    """The rocklet's exit codes: wire, because Nomad carries them from the rocklet to the derivation."""

    CLOSED = 0
    """Closed by request."""
    EARLY = 40
    """It failed before it listened."""
    IDLE = 41
    MAX_LIFETIME = 42
    LEASE = 43
    SIGNALED = 143
    """SIGTERM: Nomad's, which says so, or one from inside the sandbox, which is no request of its owner."""
