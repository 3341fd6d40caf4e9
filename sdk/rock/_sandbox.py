from __future__ import annotations

import asyncio
import logging
import os
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from rock import _convert, _nohup
from rock._absent import absent_name
from rock._actions import AbstractSandbox
from rock._commands import Commands
from rock._config import find_gateway
from rock._connection import Connection
from rock._deploy import Deploy
from rock._file_system import FileSystem
from rock._files import LocalSource, receive_file
from rock._gateway import Gateway
from rock._network import Network
from rock._process import Process
from rock._remote_user import RemoteUser
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
    CloseResponse,
    CommandResponse,
    CommitStatusResponse,
    CreateBashSessionResponse,
    DownloadFileResponse,
    ExecuteBashSessionResponse,
    IsAliveResponse,
    ReadFileResponse,
    SandboxStatusResponse,
    UploadResponse,
    WriteFileResponse,
)
from rock._sandbox_config import SandboxConfig
from rock._start import start_sandbox
from rock.errors import (
    CommandFailed,
    FileAccess,
    InternalError,
    InvalidParameterRockException,
    NotInThisClient,
    RockException,
    SandboxNotFound,
    SessionNotFound,
)
from rock.wire import messages as m
from rock.wire import operations as ops

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Sandbox"]

log = logging.getLogger(__name__)

_CLEANUP_TIMEOUT = 5.0  # seconds
_FIRST_OF_19_DIGITS = 10**18  # ROCK names temporary sessions so, after a clock; two callers must not meet in one
_ROCK_PREFIX = "/apis/envs/sandbox/v1"
_NOT_STARTED = "this sandbox is not started; call start() or attach() first"


class Sandbox(AbstractSandbox):
    """One sandbox: started through the gateway, acted on directly where its host can be reached.

    A call that is cancelled ends its command in the sandbox.  A sandbox pickles, copies and survives a fork, and may be
    used from any event loop: it holds no socket, loop or lock.

        async with Sandbox(SandboxConfig(image="python:3.11")) as sandbox:
            print((await sandbox.arun("echo hi")).output)
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._gateway = self._find_gateway(self.config.base_url)
        self._sandbox_id: str | None = None
        self._host_name: str | None = None
        self._host_ip: str | None = None
        self._connection: Connection | None = None
        self.remote_user = RemoteUser(self)
        self.process = Process(self)
        self.network = Network(self)
        self.commands = Commands(self)
        self.fs = FileSystem(self)
        self.deploy = Deploy(self)
        # What ROCK has here is not in this client yet; its users also set these.
        self.agent: Any = absent_name("rock.sdk.sandbox.agent.rock_agent", "RockAgent")
        self.model_service: Any = None
        self.runtime_envs: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"Sandbox(sandbox_id={self._sandbox_id!r}, host_name={self._host_name!r}, image={self.config.image!r})"

    # --------------------------------------------------------------------------------------------------- who it is

    @property
    def sandbox_id(self) -> str | None:
        """Its id; None before it is started or attached to."""
        return self._sandbox_id

    @property
    def host_name(self) -> str | None:
        """The name of the machine it runs on."""
        return self._host_name

    @property
    def host_ip(self) -> str | None:
        """The address of the machine it runs on."""
        return self._host_ip

    @property
    def cluster(self) -> str:
        """ROCK's name of the cluster, as configured."""
        return self.config.cluster

    @property
    def url(self) -> str:
        """Where ROCK's routes are at its gateway; setting it moves all later calls to another gateway."""
        return f"{self._gateway.address.url}{_ROCK_PREFIX}"

    @url.setter
    def url(self, url: str) -> None:
        self._gateway = self._find_gateway(url.rstrip("/").removesuffix(_ROCK_PREFIX))
        if self._sandbox_id is not None:
            self._connection = Connection(self._gateway, self._sandbox_id, self.config.direct)

    # -------------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Start it, and return when its rocklet answers.

        A start that fails or is cancelled leaves no sandbox running.

        Raises BadRequestRockError: ask for something else; InternalServerRockError (StartFailed): start another.
        """
        sandbox_id = self.config.sandbox_id or uuid.uuid4().hex
        status = await start_sandbox(self._gateway, _convert.to_spec(self.config, sandbox_id))
        self._adopt(status)

    async def attach(self, sandbox_id: str) -> None:
        """Become the sandbox of that id; its image, size and owner overwrite those of `config`.

        Raises SandboxNotFound: it is unknown, or ended long ago.
        """
        status = await self._gateway.call(ops.GET_SANDBOX, m.GetSandboxRequest(), sandbox_id=sandbox_id)
        self._adopt(status)
        known = _convert.from_status(status)
        for name in ("sandbox_id", "image", "cpus", "memory", "user_id", "experiment_id", "namespace"):
            setattr(self.config, name, getattr(known, name))

    async def stop(self) -> None:
        """End it.  One that has ended already is no error, nor is a gateway that does not answer: that is logged."""
        if self._sandbox_id is None:
            return
        try:
            await self._gateway.call(ops.STOP_SANDBOX, m.Empty(), sandbox_id=self._sandbox_id)
        except SandboxNotFound:
            log.debug("sandbox %s is gone already", self._sandbox_id)
        except RockException as error:
            # ROCK's users rely on stop() never raising; the sandbox's own clocks will end it.
            log.warning("sandbox %s could not be stopped, its idle timeout will end it: %s", self._sandbox_id, error)

    async def delete(self) -> None:
        """Forget a sandbox that was stopped: not even its status is known afterwards.

        Raises BadRequestRockError: it still runs, stop it first.
        """
        await self._gateway.call(ops.DELETE_SANDBOX, m.Empty(), sandbox_id=self._require_id())

    async def restart(self) -> None:
        """Not to be had: raises NotInThisClient, for files do not survive a stop on Nomad."""
        raise NotInThisClient("Sandbox.restart: the files of a sandbox do not survive a stop on Nomad; start another")

    async def archive(self) -> None:
        """Not to be had: raises NotInThisClient, for files do not survive a stop on Nomad."""
        raise NotInThisClient("Sandbox.archive: the files of a sandbox do not survive a stop on Nomad; download them")

    async def commit(
        self, image_tag: str, username: str, password: str, timeout: float = 180, interval: float = 2
    ) -> CommitStatusResponse | None:
        """Not there yet: raises NotInThisClient."""
        raise NotInThisClient("Sandbox.commit is not in this client yet")

    async def commit_async(self, image_tag: str, username: str, password: str) -> CommitStatusResponse | None:
        """Not there yet: raises NotInThisClient."""
        raise NotInThisClient("Sandbox.commit_async is not in this client yet")

    async def get_commit_status(self) -> CommitStatusResponse | None:
        """Not there yet: raises NotInThisClient."""
        raise NotInThisClient("Sandbox.get_commit_status is not in this client yet")

    async def close(self) -> CloseResponse:
        """The same as `stop`."""
        await self.stop()
        return CloseResponse()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def get_status(self, include_all_states: bool = False) -> SandboxStatusResponse:
        """What is known about it.

        Raises, unless `include_all_states`, the typed end of a sandbox that has ended.
        """
        status = await self._get_status()
        if status.state is m.State.STOPPED and not include_all_states:
            raise _convert.to_end(status)
        return _convert.from_status(status)

    async def is_alive(self) -> IsAliveResponse:
        """Whether its rocklet answers.

        Raises what `get_status` raises: a sandbox that has ended is an error, not a False.
        """
        status = await self.get_status()
        return IsAliveResponse(is_alive=status.is_alive, message=status.host_name or "")

    async def renew_lease(self, lease: float | None = None) -> None:
        """Say that the trainer is still there; `lease` sets a new length in seconds."""
        await self._rocklet.call(ops.RENEW_LEASE, m.RenewLeaseRequest(lease=lease))

    # ---------------------------------------------------------------------------------------------------- sessions

    async def create_session(
        self, create_session_request: CreateBashSessionRequest | None = None
    ) -> CreateBashSessionResponse:
        """Start a bash that keeps its state from command to command; one of the same name is kept as it is.

        Where the image has no bash it is a sh, and `output` begins with a sentence that says so.
        Raises BadRequestRockError: the image has no shell at all; use `execute`.
        """
        session = await self._rocklet.call(
            ops.CREATE_SESSION, _convert.to_create_session(create_session_request or CreateBashSessionRequest())
        )
        return CreateBashSessionResponse(output=session.said())

    async def close_session(self, request: CloseBashSessionRequest | None = None) -> CloseBashSessionResponse:
        """End a session and what runs in it; one that is not there is no error."""
        try:
            await self._rocklet.call(
                ops.CLOSE_SESSION, m.SessionRequest(session=(request or CloseBashSessionRequest()).session)
            )
        except SessionNotFound:
            log.debug("session %s of sandbox %s is closed already", request and request.session, self._sandbox_id)
        return CloseBashSessionResponse()

    async def arun(  # noqa: PLR0913 - ROCK's signature
        self,
        cmd: str,
        session: str | None = None,
        wait_timeout: float = 300,
        wait_interval: float = 10,
        mode: RunMode | str = RunMode.NORMAL,
        response_limited_bytes_in_nohup: int | None = None,
        ignore_output: bool = False,
        output_file: str | None = None,
        *,
        timeout: float | None = None,
        silence_timeout: float | None = None,
        check: Literal["raise", "silent", "ignore"] = "raise",
    ) -> BashObservation:
        """Run a command in a session; without one, in a session of its own that is closed afterwards.

        In normal mode it is killed `timeout` seconds after its start, or when it has printed nothing for
        `silence_timeout` seconds, and `check` says what an exit code other than 0 does: raise, return it, or return
        None in its place.

        In nohup mode it runs in the background and is waited for, `wait_timeout` seconds at most; then it goes on.  Its
        exit code is its own, and 128 + n after signal n; `failure_reason` says what befell it.  Its output is the first
        `response_limited_bytes_in_nohup` bytes, or with `ignore_output` a note on where it is.  `output_file`, whose
        name needs an extension, keeps it.  `wait_interval` has no effect: nobody polls.

        Raises NonZeroExitCode or CommandTimeout in normal mode, unless `check` says otherwise: both are
        `CommandRockError`s, start with `Failed to execute command:` and have the output;
        InvalidParameterRockException: another mode.
        """
        if mode not in (RunMode.NORMAL, RunMode.NOHUP):
            raise InvalidParameterRockException(f"Unsupported arun mode: {mode}; it must be 'normal' or 'nohup'")
        async with self._session_or_temporary(session) as session:
            if mode == RunMode.NORMAL:
                action = BashAction(command=cmd, session=session, timeout=timeout, check=check)
                return await self._run(action, silence_timeout)
            job = _nohup.Job(self, self._rocklet, cmd, output_file)
            return await job.run(
                session, wait_timeout, limit_bytes=response_limited_bytes_in_nohup, ignore_output=ignore_output
            )

    @asynccontextmanager
    async def _session_or_temporary(self, session: str | None) -> AsyncIterator[str]:
        """The session that is named, or one for the block alone."""
        if session is not None:
            yield session
            return
        session = f"bash-{_FIRST_OF_19_DIGITS + secrets.randbelow(9 * _FIRST_OF_19_DIGITS)}"
        await self.create_session(CreateBashSessionRequest(session=session))
        try:
            yield session
        finally:
            await self._close_temporary(session)

    async def _close_temporary(self, session: str) -> None:
        try:
            await asyncio.wait_for(self.close_session(CloseBashSessionRequest(session=session)), _CLEANUP_TIMEOUT)
        except (RockException, asyncio.TimeoutError) as error:
            # The command's own outcome is what the caller asked for; the session ends with the sandbox.
            log.debug("session %s of sandbox %s was not closed: %s", session, self._sandbox_id, error)

    async def run_in_session(self, action: BashAction) -> BashObservation:
        """Run a command in a session, as `arun` does."""
        return await self._run(action)

    async def _run(self, action: BashAction, silence_timeout: float | None = None) -> BashObservation:
        observation = await self._rocklet.call(ops.RUN_IN_SESSION, _convert.to_run(action, silence_timeout))
        return _convert.from_observation(observation, action)

    async def run_nohup_and_wait(
        self, cmd: str, redirect_file_path: str = "/dev/null", wait_timeout: int = 300, wait_interval: int = 10
    ) -> ExecuteBashSessionResponse:
        """Run a command in the background, its output in a file; whether it has ended, and how.

        Deprecated in ROCK: use `arun` in nohup mode.
        """
        async with self._session_or_temporary(None) as session:
            pid, refusal = await self.start_nohup_process(cmd, redirect_file_path, session)
            if pid is None:
                return ExecuteBashSessionResponse(message=f"Failed to execute nohup command {cmd!r}: {refusal}")
            success, message = await self.wait_for_process_completion(pid, session, wait_timeout, wait_interval)
        return ExecuteBashSessionResponse(success=success, message=message)

    async def start_nohup_process(
        self, cmd: str, tmp_file: str, session: str
    ) -> tuple[int | None, BashObservation | None]:
        """Start a command in the background of a session, its output in a file; its process id, or what went wrong."""
        return await _nohup.start_process(self, cmd, tmp_file, session)

    async def wait_for_process_completion(
        self, pid: int, session: str, wait_timeout: float, wait_interval: float
    ) -> tuple[bool, str]:
        """Whether a process has ended, after `wait_timeout` seconds at most, and a sentence about that.

        `session` and `wait_interval` have no effect: the rocklet tells.
        """
        end, message = await _nohup.wait_for_process(self._rocklet, pid, wait_timeout)
        return end is not None, message

    async def handle_nohup_output(  # noqa: PLR0913 - ROCK's signature
        self,
        tmp_file: str,
        session: str,
        success: bool,
        message: str,
        ignore_output: bool,
        response_limited_bytes_in_nohup: int | None,
    ) -> BashObservation:
        """A background command's output, or with `ignore_output` a note on where it is; exit code 0 or 1."""
        if ignore_output:
            output = await _nohup.render_detached(self, tmp_file, success, message)
        else:
            output = await _nohup.read_output(self._rocklet, tmp_file, response_limited_bytes_in_nohup)
        return BashObservation(output=output, exit_code=0 if success else 1, failure_reason="" if success else message)

    async def execute(self, command: Command) -> CommandResponse:
        """Run one program, without a session.

        Its exit code is never an error; one that could not be started, or ran into its timeout, has -1 and the reason
        in `stderr`.
        """
        try:
            output = await self._rocklet.call(ops.EXECUTE, _convert.to_execute(command))
        except CommandFailed as error:
            return CommandResponse(stderr=error.message, exit_code=-1)
        return _convert.from_output(output)

    # ------------------------------------------------------------------------------------------------------- files

    async def read_file(self, request: ReadFileRequest) -> ReadFileResponse:
        """A text file's content.

        Raises FileNotFound, FileAccess: there is none, or it cannot be read.
        """
        file = await self._rocklet.call(ops.READ_FILE, _convert.to_read_file(request))
        return ReadFileResponse(content=file.content)

    async def read_file_by_line_range(
        self,
        file_path: str,
        start_line: int | None = None,
        end_line: int | None = None,
        lines_per_request: int = 1000,
        session: str | None = None,
    ) -> ReadFileResponse:
        """Some lines of a text file, counted from 1, both ends included; to the file's end if `end_line` is None.

        `lines_per_request` and `session` have no effect: the lines come in one piece.
        Raises InvalidParameterRockException; FileAccess: there is no such file, or it cannot be read.
        """
        start = 1 if start_line is None else start_line
        if start < 1:
            raise InvalidParameterRockException(f"start_line({start_line}) must be positive")
        if end_line is not None and end_line < start:
            raise InvalidParameterRockException(f"end_line({end_line}) must be greater than start_line({start_line})")
        if not 1 <= lines_per_request <= 10_000:
            raise InvalidParameterRockException(f"lines_per_request({lines_per_request}) must be between 1 and 10000")
        last = "$" if end_line is None else str(end_line)
        read = await self.execute(Command(command=["sed", "-n", f"{start},{last}p", "--", file_path]))
        if read.exit_code != 0:
            raise FileAccess(f"Failed to read file {file_path}: {read.stderr.strip()}", details={"path": file_path})
        return ReadFileResponse(content=read.stdout)

    async def write_file(self, request: WriteFileRequest) -> WriteFileResponse:
        """Write a text file; parents are created.  A path that cannot be written answers `success=False`."""
        return await self.write_file_by_path(request.content, request.path)

    async def write_file_by_path(self, content: str, path: str) -> WriteFileResponse:
        """The same as `write_file`."""
        try:
            await self._rocklet.call(ops.WRITE_FILE, m.WriteFileRequest(path=path, content=content))
        except FileAccess as error:
            return WriteFileResponse(success=False, message=error.message)
        return WriteFileResponse(success=True)

    async def upload(self, request: UploadRequest) -> UploadResponse:
        """Copy a local file into the sandbox; parents are created.

        A local file that is not there, and a path that cannot be written, answer `success=False`.
        """
        return await self.upload_by_path(request.source_path, request.target_path, request.upload_mode)

    async def upload_by_path(
        self, file_path: str | os.PathLike[str], target_path: str, upload_mode: UploadMode = UploadMode.AUTO
    ) -> UploadResponse:
        """The same as `upload`."""
        if upload_mode == UploadMode.OSS:
            return UploadResponse(success=False, message="there is no object store here; use auto or direct")
        if not await asyncio.to_thread(Path(file_path).is_file):
            return UploadResponse(success=False, message=f"File not found: {file_path}")
        source = await asyncio.to_thread(LocalSource, file_path)
        try:
            facts = await self._rocklet.upload(
                ops.UPLOAD, m.UploadRequest(path=target_path), body=source, size=source.size
            )
        except FileAccess as error:
            return UploadResponse(success=False, message=error.message)
        if facts.sha256 != source.sha256:
            raise InternalError(f"{file_path} did not arrive at {target_path} as it was sent; upload it again")
        return UploadResponse(success=True, file_name=Path(target_path).name)

    async def download(self, remote_path: str, local_path: str | os.PathLike[str]) -> DownloadFileResponse:
        """Copy a file of the sandbox to a local path, which is replaced once it is whole and its digest is right.

        Raises FileNotFound, FileAccess: there is none, or it cannot be read; OSError: the local path cannot be written.
        """
        target = Path(local_path)
        size, _digest = await self._rocklet.download(
            ops.DOWNLOAD, m.DownloadRequest(path=remote_path), lambda route, call: receive_file(route, call, target)
        )
        return DownloadFileResponse(success=True, message=f"{size} bytes")

    # ------------------------------------------------------------------------------------------------------- state

    def _find_gateway(self, base_url: str) -> Gateway:
        key = self.config.api_key or self.config.__dict__.get("xrl_authorization")  # reading it as a field would warn
        return Gateway(find_gateway(base_url, key), self.config.extra_headers)

    @property
    def _rocklet(self) -> Connection:
        if self._connection is None:
            raise InvalidParameterRockException(_NOT_STARTED)
        return self._connection

    def _require_id(self) -> str:
        if self._sandbox_id is None:
            raise InvalidParameterRockException(_NOT_STARTED)
        return self._sandbox_id

    async def _get_status(self) -> m.SandboxStatus:
        status = await self._gateway.call(ops.GET_SANDBOX, m.GetSandboxRequest(), sandbox_id=self._require_id())
        self._rocklet.learn(status.rocklet)
        return status

    def _adopt(self, status: m.SandboxStatus) -> None:
        """Become the sandbox that a status is about."""
        self._sandbox_id = status.sandbox_id
        self._host_name = status.node or ""
        # Nomad's short answers leave the address out; ROLL takes an empty one for a failed start.
        self._host_ip = status.host_ip or (urlsplit(status.rocklet.url).hostname if status.rocklet else None) or ""
        self._connection = Connection(self._gateway, status.sandbox_id, self.config.direct)
        self._connection.learn(status.rocklet)
