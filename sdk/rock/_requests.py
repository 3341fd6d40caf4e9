"""What a user hands to a `Sandbox`, in ROCK's names: mutable pydantic models with rl-rock's fields and defaults.

Source: rl-rock 1.11, `rock/actions/sandbox/request.py`.  `_convert` turns them into wire structs.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import BaseModel, Field

__all__ = [
    "Action",
    "BashAction",
    "ChmodRequest",
    "ChownRequest",
    "CloseBashSessionRequest",
    "CloseSessionRequest",
    "Command",
    "CreateBashSessionRequest",
    "CreateSessionRequest",
    "ReadFileRequest",
    "RunMode",
    "RunModeType",
    "UploadMode",
    "UploadRequest",
    "WriteFileRequest",
]


class RunMode(str, Enum):
    """How `Sandbox.arun` runs a command."""

    NORMAL = "normal"
    NOHUP = "nohup"


RunModeType = Literal["normal", "nohup"]
"""ROCK's name for what it takes as a mode."""


class Command(BaseModel):
    """One program, without a session."""

    session_type: Literal["bash"] = "bash"
    command: str | list[str]
    """A list is an argv; a text is run by the sandbox's shell."""
    timeout: float | None = 1200
    """Seconds; None: no limit."""
    env: dict[str, str] | None = None
    """Added to the sandbox's environment."""
    cwd: str | None = None


class CreateBashSessionRequest(BaseModel):
    """A bash of its own, which keeps its directory and variables from command to command."""

    session_type: Literal["bash"] = "bash"
    session: str = "default"
    startup_source: list[str] = []
    """Files to source before the first command."""
    env_enable: bool = False
    """No effect: every session has the sandbox's environment, and never the rocklet's own."""
    env: dict[str, str] | None = Field(default=None)
    """Added to the sandbox's environment."""
    remote_user: str | None = Field(default=None)
    """Run as this user of the sandbox."""


class BashAction(BaseModel):
    """A command in a session."""

    action_type: Literal["bash"] = "bash"
    command: str
    session: str = "default"
    timeout: float | None = None
    """Seconds from its start; None: as long as the sandbox lives."""
    check: Literal["silent", "raise", "ignore"] = "raise"
    """What to do about an exit code other than 0: raise, return it, or return None in its place."""


class WriteFileRequest(BaseModel):
    """A text file to write."""

    content: str
    path: str


class CloseBashSessionRequest(BaseModel):
    """A session to close."""

    session_type: Literal["bash"] = "bash"
    session: str = "default"


class ReadFileRequest(BaseModel):
    """A text file to read."""

    path: str
    encoding: str | None = None
    """None: UTF-8."""
    errors: str | None = None
    """What to do about bytes that are no text, as for `bytes.decode`; None: strict."""


class UploadMode(str, Enum):
    """Which way an upload takes."""

    AUTO = "auto"
    OSS = "oss"
    """Through an object store; there is none here."""
    DIRECT = "direct"


class UploadRequest(BaseModel):
    """A local file and where to put it."""

    source_path: str
    target_path: str
    upload_mode: UploadMode = UploadMode.AUTO


class ChownRequest(BaseModel):
    """Files to give to a user."""

    remote_user: str
    paths: list[str] = []
    recursive: bool = False


class ChmodRequest(BaseModel):
    """Files to change the mode of."""

    paths: list[str] = []
    mode: str = "755"
    recursive: bool = False


# ROCK's names for unions that have one member.  Its users call them, so they are the class itself.
Action = BashAction
CloseSessionRequest = CloseBashSessionRequest
CreateSessionRequest = CreateBashSessionRequest
