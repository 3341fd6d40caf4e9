from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from rock import _portal
from rock._requests import (
    BashAction,
    CloseBashSessionRequest,
    Command,
    CreateBashSessionRequest,
    ReadFileRequest,
    RunMode,
    UploadMode,
    UploadRequest,
    WriteFileRequest,
)
from rock._responses import (
    BashObservation,
    CloseBashSessionResponse,
    CommandResponse,
    CreateBashSessionResponse,
    DownloadFileResponse,
    IsAliveResponse,
    ReadFileResponse,
    SandboxStatusResponse,
    UploadResponse,
    WriteFileResponse,
)
from rock._sandbox import Sandbox
from rock._sandbox_config import SandboxConfig
from rock._sync_commands import SyncCommands

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SyncSandbox"]


class SyncSandbox:
    """`Sandbox` for callers without an event loop: the same calls, which block.

    From a notebook too, where a loop runs already: the calls run in a loop of their own, in one thread per process.

        with SyncSandbox(SandboxConfig(image="python:3.11")) as sandbox:
            print(sandbox.run("echo hi").output)
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.sandbox = Sandbox(config)
        self.commands = SyncCommands(self.sandbox.commands)
        """Commands that run by themselves, followed as they print."""

    def __repr__(self) -> str:
        return f"SyncSandbox({self.sandbox!r})"

    @property
    def config(self) -> SandboxConfig:
        """What was asked for."""
        return self.sandbox.config

    @property
    def sandbox_id(self) -> str | None:
        """Its id; None before it is started or attached to."""
        return self.sandbox.sandbox_id

    @property
    def host_name(self) -> str | None:
        """The name of the machine it runs on."""
        return self.sandbox.host_name

    @property
    def host_ip(self) -> str | None:
        """The address of the machine it runs on."""
        return self.sandbox.host_ip

    def start(self) -> None:
        """As `Sandbox.start`."""
        _portal.run(self.sandbox.start())

    def attach(self, sandbox_id: str) -> None:
        """As `Sandbox.attach`."""
        _portal.run(self.sandbox.attach(sandbox_id))

    def stop(self) -> None:
        """As `Sandbox.stop`."""
        _portal.run(self.sandbox.stop())

    def delete(self) -> None:
        """As `Sandbox.delete`."""
        _portal.run(self.sandbox.delete())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def get_status(self, include_all_states: bool = False) -> SandboxStatusResponse:
        """As `Sandbox.get_status`."""
        return _portal.run(self.sandbox.get_status(include_all_states))

    def is_alive(self) -> IsAliveResponse:
        """As `Sandbox.is_alive`."""
        return _portal.run(self.sandbox.is_alive())

    def renew_lease(self, lease: float | None = None) -> None:
        """As `Sandbox.renew_lease`."""
        _portal.run(self.sandbox.renew_lease(lease))

    def create_session(
        self, create_session_request: CreateBashSessionRequest | None = None
    ) -> CreateBashSessionResponse:
        """As `Sandbox.create_session`."""
        return _portal.run(self.sandbox.create_session(create_session_request))

    def close_session(self, request: CloseBashSessionRequest | None = None) -> CloseBashSessionResponse:
        """As `Sandbox.close_session`."""
        return _portal.run(self.sandbox.close_session(request))

    def run(  # noqa: PLR0913 - those of `Sandbox.arun` that have an effect
        self,
        cmd: str,
        session: str | None = None,
        wait_timeout: float = 300,
        mode: RunMode | str = RunMode.NORMAL,
        *,
        timeout: float | None = None,
        silence_timeout: float | None = None,
        check: Literal["raise", "silent", "ignore"] = "raise",
    ) -> BashObservation:
        """As `Sandbox.arun`."""
        work = self.sandbox.arun(
            cmd, session, wait_timeout, mode=mode, timeout=timeout, silence_timeout=silence_timeout, check=check
        )
        return _portal.run(work)

    def run_in_session(self, action: BashAction) -> BashObservation:
        """As `Sandbox.run_in_session`."""
        return _portal.run(self.sandbox.run_in_session(action))

    def execute(self, command: Command) -> CommandResponse:
        """As `Sandbox.execute`."""
        return _portal.run(self.sandbox.execute(command))

    def read_file(self, request: ReadFileRequest) -> ReadFileResponse:
        """As `Sandbox.read_file`."""
        return _portal.run(self.sandbox.read_file(request))

    def read_file_by_line_range(
        self, file_path: str, start_line: int | None = None, end_line: int | None = None
    ) -> ReadFileResponse:
        """As `Sandbox.read_file_by_line_range`."""
        return _portal.run(self.sandbox.read_file_by_line_range(file_path, start_line, end_line))

    def write_file(self, request: WriteFileRequest) -> WriteFileResponse:
        """As `Sandbox.write_file`."""
        return _portal.run(self.sandbox.write_file(request))

    def write_file_by_path(self, content: str, path: str) -> WriteFileResponse:
        """As `Sandbox.write_file_by_path`."""
        return _portal.run(self.sandbox.write_file_by_path(content, path))

    def upload(self, request: UploadRequest) -> UploadResponse:
        """As `Sandbox.upload`."""
        return _portal.run(self.sandbox.upload(request))

    def upload_by_path(
        self, file_path: str | os.PathLike[str], target_path: str, upload_mode: UploadMode = UploadMode.AUTO
    ) -> UploadResponse:
        """As `Sandbox.upload_by_path`."""
        return _portal.run(self.sandbox.upload_by_path(file_path, target_path, upload_mode))

    def download(self, remote_path: str, local_path: str | os.PathLike[str]) -> DownloadFileResponse:
        """As `Sandbox.download`."""
        return _portal.run(self.sandbox.download(remote_path, local_path))
