"""SWE-ReX's messages.  Unknown fields are ignored, as its server does."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "PROMPT",
    "Action",
    "CloseSession",
    "Closed",
    "Command",
    "Created",
    "Execute",
    "Failure",
    "FileText",
    "Greeting",
    "Interrupt",
    "IsAlive",
    "Nothing",
    "Observed",
    "Output",
    "ReadFile",
    "StartSession",
    "Transfer",
    "WriteFile",
]

PROMPT = "SHELLPS1PREFIX"
"""What its shells have for a prompt, and what `expect_string` says where the shell was back before anything else."""

Check = Literal["silent", "raise", "ignore"]


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message of either side."""


class StartSession(_Message, frozen=True, kw_only=True):
    """Start a bash."""

    session_type: Literal["bash"]
    session: str = "default"
    startup_source: list[str] = []
    startup_timeout: float = 1.0  # seconds


class Created(_Message, frozen=True, kw_only=True):
    """A session was started."""

    output: str = ""
    session_type: str = "bash"


class Command(_Message, frozen=True, kw_only=True, tag_field="action_type", tag="bash"):
    """Run a command in a session."""

    command: str
    session: str = "default"
    timeout: float | None = None  # seconds; likewise below
    is_interactive_command: bool = False
    is_interactive_quit: bool = False
    check: Check = "raise"
    error_msg: str = ""
    expect: list[str] = []
    """Regular expressions."""


class Interrupt(_Message, frozen=True, kw_only=True, tag_field="action_type", tag="bash_interrupt"):
    """Press Ctrl-C in a session."""

    session: str = "default"
    timeout: float = 0.2
    """For each press."""
    n_retry: int = 3
    expect: list[str] = []


Action = Command | Interrupt


class Observed(_Message, frozen=True, kw_only=True):
    """What an action did."""

    output: str = ""
    exit_code: int | None = None
    failure_reason: str = ""
    expect_string: str = ""
    session_type: str = "bash"


class CloseSession(_Message, frozen=True, kw_only=True):
    """Close a session."""

    session_type: Literal["bash"]
    session: str = "default"


class Closed(_Message, frozen=True, kw_only=True):
    """A session was closed."""

    session_type: str = "bash"


class Execute(_Message, frozen=True, kw_only=True):
    """Run one program; its fields mean what those of Python's `subprocess.run` mean."""

    command: str | list[str]
    timeout: float | None = None
    shell: bool = False
    check: bool = False
    error_msg: str = ""
    env: dict[str, str] | None = None
    cwd: str | None = None
    merge_output_streams: bool = False


class Output(_Message, frozen=True, kw_only=True):
    """What a program did."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = None


class ReadFile(_Message, frozen=True, kw_only=True):
    """Read a text file."""

    path: str
    encoding: str | None = None
    errors: str | None = None


class FileText(_Message, frozen=True, kw_only=True):
    """A file's text."""

    content: str


class WriteFile(_Message, frozen=True, kw_only=True):
    """Write a text file; its directory is made."""

    path: str
    content: str


class Nothing(_Message, frozen=True, kw_only=True):
    """Nothing to say."""


class Greeting(_Message, frozen=True, kw_only=True):
    """What stands at the root."""

    message: str = "hello world"


class IsAlive(_Message, frozen=True, kw_only=True):
    """The server lives."""

    is_alive: bool = True
    message: str = ""


class Transfer(_Message, frozen=True, kw_only=True):
    """An exception, for the client to raise: it imports `class_path` and builds it from `message` alone."""

    message: str
    class_path: str
    traceback: str = ""
    """Always empty: a client logs it as critical, whatever it is."""
    extra_info: dict[str, str] = {}


class Failure(_Message, frozen=True, kw_only=True):
    """The body of a 511."""

    swerexception: Transfer
