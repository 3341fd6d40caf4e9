"""What ROCK says a sandbox can do, whoever makes it, and the configurations of its in-process runtimes.

Source: rl-rock 1.11, `rock/actions/sandbox/base.py` and `config.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict

from rock._requests import (
    BashAction,
    CloseBashSessionRequest,
    Command,
    CreateBashSessionRequest,
    ReadFileRequest,
    UploadRequest,
    WriteFileRequest,
)
from rock._responses import (
    BashObservation,
    CloseBashSessionResponse,
    CloseResponse,
    CommandResponse,
    CreateBashSessionResponse,
    IsAliveResponse,
    ReadFileResponse,
    UploadResponse,
    WriteFileResponse,
)
from rock.errors import NotInThisClient

__all__ = ["AbstractSandbox", "RemoteSandboxRuntimeConfig", "RockletConfig", "SandboxRuntimeConfig"]


class AbstractSandbox(ABC):
    """A sandbox, as code that is handed one may use it."""

    @abstractmethod
    async def is_alive(self) -> IsAliveResponse:
        """Whether it answers."""

    @abstractmethod
    async def create_session(self, request: CreateBashSessionRequest) -> CreateBashSessionResponse:
        """Start a session."""

    @abstractmethod
    async def run_in_session(self, action: BashAction) -> BashObservation:
        """Run a command in a session."""

    @abstractmethod
    async def close_session(self, request: CloseBashSessionRequest) -> CloseBashSessionResponse:
        """End a session."""

    @abstractmethod
    async def execute(self, command: Command) -> CommandResponse:
        """Run one program."""

    @abstractmethod
    async def read_file(self, request: ReadFileRequest) -> ReadFileResponse:
        """Read a text file."""

    @abstractmethod
    async def write_file(self, request: WriteFileRequest) -> WriteFileResponse:
        """Write a text file."""

    @abstractmethod
    async def upload(self, request: UploadRequest) -> UploadResponse:
        """Copy a local file into it."""

    @abstractmethod
    async def close(self) -> CloseResponse:
        """End it."""


class _ExceptionTransfer(BaseModel):
    """An exception on its way from ROCK's rocklet; here errors travel as the wire's own."""

    message: str = ""
    class_path: str = ""
    traceback: str = ""
    extra_info: dict[str, Any] = {}


class RockletConfig(BaseModel):
    """ROCK's runtime inside the caller's process."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["rocklet"] = "rocklet"

    def get_sandbox_runtime(self) -> NoReturn:
        """Not to be had: raises NotInThisClient."""
        raise NotInThisClient("RockletConfig.get_sandbox_runtime is not in this client; use Sandbox")


class RemoteSandboxRuntimeConfig(BaseModel):
    """ROCK's way to a rocklet whose address is known."""

    model_config = ConfigDict(extra="forbid")

    host: str = "http://127.0.0.1"
    port: int | None = None
    timeout: float = 0.15
    """Seconds."""
    type: Literal["remote"] = "remote"

    def get_sandbox_runtime(self) -> NoReturn:
        """Not to be had: raises NotInThisClient."""
        raise NotInThisClient("RemoteSandboxRuntimeConfig.get_sandbox_runtime is not in this client; use Sandbox")


SandboxRuntimeConfig = RockletConfig | RemoteSandboxRuntimeConfig
