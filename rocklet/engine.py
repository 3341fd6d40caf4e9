"""The engine: one method per operation that the rocklet serves, named as the operation is.

It knows no HTTP: a dialect decodes a request, calls the method and encodes the result or the error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import msgspec

from rock.wire.commands import (
    CommandInput,
    CommandList,
    CommandRequest,
    CommandSignal,
    CommandStatus,
    FollowCommandRequest,
    StartCommandRequest,
    StartInSessionRequest,
    WaitCommandRequest,
)
from rock.wire.envs import (
    Env,
    EnvList,
    EnvRequest,
    EnvStart,
    EnvStep,
    MakeEnvRequest,
    ResetEnvRequest,
    StepEnvRequest,
)
from rock.wire.errors import FileNotFound, InvalidRequest, LimitReached, SessionExists, SessionNotFound
from rock.wire.messages import (
    ArchiveRequest,
    CancelRequest,
    CancelResult,
    Clocks,
    CommandOutput,
    CreateSessionRequest,
    DownloadRequest,
    Empty,
    ExecuteRequest,
    FileContent,
    FileFacts,
    InterruptRequest,
    Observation,
    ProcessEnd,
    ReadFileRequest,
    RenewLeaseRequest,
    RockletExit,
    RockletStatus,
    RunRequest,
    Session,
    SessionList,
    SessionRequest,
    Unpacked,
    UnpackRequest,
    UploadRequest,
    WaitProcessRequest,
    WriteFileRequest,
)
from rock.wire.monitoring import Statistics
from rock.wire.operations import Operation
from rock.wire.tunnels import ConsoleRequest
from rocklet import files
from rocklet.actions import Actions, Call, Limits
from rocklet.cgroups import Cgroup
from rocklet.clocks import SandboxClocks, read_clock
from rocklet.commands import CommandFollowing, Commands
from rocklet.config import Settings
from rocklet.console import Console
from rocklet.execute import execute
from rocklet.following import Following
from rocklet.ports import Ports
from rocklet.processes import Children
from rocklet.sessions.bash import BashSession, ShellStart
from rocklet.sessions.gem import GemSession
from rocklet.sessions.syntax import check_syntax
from rocklet.statistics import Usage
from rocklet.surroundings import Surroundings, absolute, plan_surroundings
from rocklet.waiting import run_to_end

__all__ = ["Engine"]

_FileRequest = TypeVar(
    "_FileRequest",
    ReadFileRequest,
    WriteFileRequest,
    UploadRequest,
    DownloadRequest,
    ArchiveRequest,
    UnpackRequest,
)

log = logging.getLogger(__name__)

_HOLDS_PER_IDLE_TIMEOUT = 30
_SHORTEST_HOLD = 2.0  # seconds that a wait may always last
_FOLLOW_HOLD = 60.0  # seconds until a process that is followed is asked for again, in case it is watched no longer


class Engine:
    """What a sandbox can do.  `tasks` owns all that outlives a call."""

    def __init__(self, settings: Settings, tasks: asyncio.TaskGroup, *, adopt_orphans: bool) -> None:
        self._settings = settings
        self._children = Children(adopt=adopt_orphans)
        self._ports = Ports(settings)
        self._usage = Usage(Cgroup())
        self._tasks = tasks
        self._sessions: dict[str, BashSession] = {}
        surroundings = plan_surroundings(settings, user=None, cwd=None, env={})
        self._gem = GemSession(settings.gem_python, self._children, surroundings)
        self._clocks = SandboxClocks(
            read_clock(),
            idle_timeout=settings.idle_timeout,
            max_lifetime=settings.max_lifetime,
            lease=settings.lease,
        )
        self._earlier_deadline = asyncio.Event()
        self._sleeps_until = 0.0
        limits = Limits()
        self._commands = Commands(
            tasks,
            self._children,
            limit=settings.command_limit,
            log_bytes=settings.command_log_bytes,
            grace=limits.reattach_grace,
        )
        self.actions = Actions(tasks, limits)
        """The calls that must not run twice."""
        self.ended: asyncio.Future[RockletExit] = asyncio.get_running_loop().create_future()
        """Why the rocklet is to end, once it is."""
        self._clock_task = tasks.create_task(self._watch_clocks(), name="clocks")

    def end(self, exit_code: RockletExit) -> None:
        """Ask for the end of the rocklet; the first reason stands."""
        if not self.ended.done():
            self.ended.set_result(exit_code)

    async def close(self) -> None:
        """End all commands, and whatever they have left behind."""
        self._clock_task.cancel()
        self.actions.cancel_all()
        sessions = (session.close() for session in self._sessions.values())
        await asyncio.gather(self._gem.end(), self._commands.close(), *sessions)
        await self._children.end_all()

    @property
    def home(self) -> str:
        """Where commands start."""
        return self._settings.home

    # --------------------------------------------------------------------------------------------------- clocks

    def counting(self, operation: Operation[Any, Any]) -> AbstractContextManager[None]:
        """Hold the idle clock while an operation that renews it is served; it starts anew afterwards."""
        return self.in_use() if operation.renews else contextlib.nullcontext()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the idle clock as long as somebody uses the sandbox; it starts anew afterwards."""
        self._clocks.begin_action()
        try:
            yield
        finally:
            self._clocks.end_action(read_clock())
            self._heed_deadlines()

    def _heed_deadlines(self) -> None:
        if self._clocks.next_deadline() < self._sleeps_until:
            self._earlier_deadline.set()

    async def _watch_clocks(self) -> None:
        """End the rocklet when a clock runs out; wakes at the first deadline, or when one comes before it."""
        while (exit_code := self._clocks.expired(read_clock())) is None:
            self._earlier_deadline.clear()
            self._sleeps_until = self._clocks.next_deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._sleeps_until - read_clock()):
                    await self._earlier_deadline.wait()
        log.info("sandbox %s ends: %s", self._settings.sandbox_id, exit_code.name.lower())
        self.end(exit_code)

    async def is_alive(self, request: Empty, call: Call) -> RockletStatus:
        """Whose rocklet this is."""
        return RockletStatus(sandbox_id=self._settings.sandbox_id)

    async def get_clocks(self, request: Empty, call: Call) -> Clocks:
        """How long the sandbox still has."""
        return self._clocks.describe(
            read_clock(), sandbox_id=self._settings.sandbox_id, sessions=len(self._sessions), pid=os.getpid()
        )

    async def get_statistics(self, request: Empty, call: Call) -> Statistics:
        """How much the sandbox uses."""
        return await asyncio.to_thread(self._usage.read, self._settings.home)

    async def renew_idle(self, request: Empty, call: Call) -> Clocks:
        """Start the idle clock anew."""
        self._clocks.renew_idle(read_clock())
        return await self.get_clocks(request, call)

    async def renew_lease(self, request: RenewLeaseRequest, call: Call) -> Clocks:
        """Start the lease anew, with another length if one is given."""
        if not self._clocks.has_lease and request.lease is None:
            raise InvalidRequest(
                "the sandbox has no lease to renew; say its length in seconds",
                details={"field": "lease", "value": None, "expected": "seconds"},
            )
        self._clocks.renew_lease(read_clock(), request.lease)
        self._heed_deadlines()
        return await self.get_clocks(Empty(), call)

    async def cancel(self, request: CancelRequest, call: Call) -> CancelResult:
        """End an action by the id of its request."""
        return CancelResult(canceled=self.actions.cancel(request.request_id))

    async def close_rocklet(self, request: Empty, call: Call) -> Empty:
        """End the sandbox from inside."""
        self.end(RockletExit.CLOSED)
        return Empty()

    # ------------------------------------------------------------------------------------------------- sessions

    async def create_session(self, request: CreateSessionRequest, call: Call) -> Session:
        """Start a session, or answer as if, where it exists and the request says `keep`."""
        existing = self._sessions.get(request.session)
        if existing is not None:
            if request.on_existing == "keep":
                return await existing.wait_open(call)
            raise SessionExists(
                f"session {request.session!r} exists; close it first, use another name, or say on_existing=keep",
                details={"field": "session", "value": request.session},
            )
        self._make_room()
        limit = self._settings.session_limit
        if len(self._sessions) >= limit:
            raise LimitReached(
                f"the sandbox has {limit} sessions; close some, or raise ROCKLET_SESSION_LIMIT",
                details={"limit": "sessions", "value": limit},
            )
        session = BashSession(
            request.session,
            self._plan_shell(request),
            self._children,
            idle_timeout=request.idle_timeout,
            on_idle=partial(self._close_idle, request.session),
        )
        self._sessions[request.session] = session
        try:
            return await session.open(call)
        except BaseException:
            del self._sessions[request.session]
            raise

    def _make_room(self) -> None:
        """Where there is no room, let the session go that has been idle longest of those that close when idle."""
        idle = [(session.idle_since, name) for name, session in self._sessions.items() if session.idle_since]
        if idle and len(self._sessions) >= self._settings.session_limit:
            self._close_idle(min(idle)[1])

    def _plan_shell(self, request: CreateSessionRequest) -> ShellStart:
        for source in request.startup_source:
            if not os.path.isfile(absolute(source, "startup_source", self._settings)):
                said = f"startup_source names {source}, which is no file of the sandbox; upload it first"
                raise FileNotFound(said, details={"path": source})
        return ShellStart(
            surroundings=plan_surroundings(self._settings, user=request.user, cwd=request.cwd, env=request.env),
            sources=request.startup_source,
            timeout=request.startup_timeout,
        )

    def _session(self, name: str) -> BashSession:
        session = self._sessions.get(name)
        if session is None:
            raise SessionNotFound(f"there is no session {name!r}; create it first", details={"session": name})
        return session

    async def list_sessions(self, request: Empty, call: Call) -> SessionList:
        """The sessions that can be used now."""
        return SessionList(sessions=[session.describe() for session in self._sessions.values() if session.is_open])

    async def run_in_session(self, request: RunRequest, call: Call) -> Observation:
        """Run a command in a session, in turn."""
        session = self._session(request.session)
        if request.check_syntax:
            await check_syntax(request.command, call, self._children, session.surroundings)
        observation = await session.run(request, call)
        if request.announces:
            self._children.background.announce(request.announces, observation.output)
        return observation

    async def interrupt_session(self, request: InterruptRequest, call: Call) -> Observation:
        """Press Ctrl-C in a session."""
        return await self._session(request.session).interrupt(request, call)

    async def close_session(self, request: SessionRequest, call: Call) -> Empty:
        """End a session and what runs in its foreground."""
        session = self._session(request.session)
        del self._sessions[request.session]
        await session.close()
        return Empty()

    def _close_idle(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            self._tasks.create_task(session.close(), name=f"close idle session {name}")

    # -------------------------------------------------------------------------------------------------- tunnels

    async def locate_port(self, port: str) -> tuple[int, list[str]]:
        """The port that is named, and where on loopback the sandbox's own server listens on it."""
        return await asyncio.to_thread(self._ports.locate, port)

    def open_console(self, request: ConsoleRequest) -> Console:
        """Start a program on a terminal of its own."""
        env = {"TERM": request.term}
        surroundings = plan_surroundings(self._settings, user=request.user, cwd=request.cwd, env=env)
        return Console(request, surroundings, self._children)

    # ---------------------------------------------------------------------------------------------- environments

    async def make_env(self, request: MakeEnvRequest, call: Call) -> Env:
        """Make an environment."""
        return await self._gem.make(request, call)

    async def reset_env(self, request: ResetEnvRequest, call: Call) -> EnvStart:
        """Begin an episode."""
        return await self._gem.reset(request, call)

    async def step_env(self, request: StepEnvRequest, call: Call) -> EnvStep:
        """Take an action."""
        return await self._gem.step(request, call)

    async def close_env(self, request: EnvRequest, call: Call) -> Empty:
        """Let an environment go."""
        return await self._gem.close(request, call)

    async def list_envs(self, request: Empty, call: Call) -> EnvList:
        """The environments that there are, and those that could be made."""
        return await self._gem.list(call)

    # ------------------------------------------------------------------------------------------ commands and files

    async def execute(self, request: ExecuteRequest, call: Call) -> CommandOutput:
        """Run one program."""
        return await execute(request, call, self._children, self._plan_program(request))

    def _plan_program(self, request: ExecuteRequest) -> Surroundings:
        surroundings = plan_surroundings(self._settings, user=request.user, cwd=request.cwd, env=request.env)
        return surroundings if request.inherit_env else msgspec.structs.replace(surroundings, env=request.env)

    async def start_command(self, request: StartCommandRequest, call: Call) -> CommandStatus:
        """Start a program that runs by itself."""
        return self._commands.start(request, self._plan_program(request))

    async def start_in_session(self, request: StartInSessionRequest, call: Call) -> CommandStatus:
        """Start a command in a session, in turn."""
        session = self._session(request.session)
        if request.check_syntax:
            await check_syntax(request.command, call, self._children, session.surroundings)
        return self._commands.start_in_session(request, session)

    async def list_commands(self, request: Empty, call: Call) -> CommandList:
        """The commands that run by themselves, or have."""
        return self._commands.list()

    async def wait_command(self, request: WaitCommandRequest, call: Call) -> CommandStatus:
        """Wait for one of them."""
        return await self._commands.wait(request.command_id, self._shorten(request.hold), call.canceled)

    async def follow_command(self, request: FollowCommandRequest, call: Call) -> CommandFollowing:
        """Begin to read what it prints."""
        return self._commands.follow(request)

    async def send_input(self, request: CommandInput, call: Call) -> CommandStatus:
        """Write to its stdin."""
        return await self._commands.send_input(request, call.canceled)

    async def signal_command(self, request: CommandSignal, call: Call) -> CommandStatus:
        """Send it a signal."""
        return self._commands.signal(request)

    async def close_command(self, request: CommandRequest, call: Call) -> CommandStatus:
        """End it, if it runs, and forget it and its log."""
        return await self._commands.close_one(request.command_id)

    async def wait_process(self, request: WaitProcessRequest, call: Call) -> ProcessEnd:
        """Wait for a process that commands have left behind."""
        hold = self._shorten(request.hold)
        return await self._children.background.wait(
            request.pid, hold, call.canceled, only_announced=request.only_announced
        )

    def _shorten(self, hold: float) -> float:
        """How long a wait may last of which so much was asked."""
        return min(hold, max(self._settings.idle_timeout / _HOLDS_PER_IDLE_TIMEOUT, _SHORTEST_HOLD))

    def _located(self, request: _FileRequest) -> _FileRequest:
        """The request with its path made absolute."""
        return msgspec.structs.replace(request, path=absolute(request.path, "path", self._settings))

    async def read_file(self, request: ReadFileRequest, call: Call) -> FileContent:
        """Read a text."""
        return await asyncio.to_thread(files.read_text, self._located(request), self._settings.read_bytes)

    async def write_file(self, request: WriteFileRequest, call: Call) -> FileFacts:
        """Replace a file by a text."""
        return await asyncio.to_thread(files.write_text, self._located(request))

    async def upload(self, request: UploadRequest, call: Call, chunks: AsyncIterator[bytes]) -> FileFacts:
        """Replace a file by a stream of bytes; a stream that breaks off leaves nothing."""
        replacement = files.Replacement(self._located(request).path, request.mode)
        try:
            await run_to_end(replacement.open)
            async for chunk in chunks:
                await run_to_end(replacement.write, chunk)
            return await run_to_end(replacement.commit, request.sha256)
        finally:
            replacement.close()

    async def download(self, request: DownloadRequest, call: Call) -> files.Stream:
        """Open a file, or a part of it, to be read; or one that a process still writes to."""
        if request.follow is None:
            return await asyncio.to_thread(files.open_download, self._located(request))
        wait_end = partial(self._children.background.wait, request.follow, _FOLLOW_HOLD, call.canceled)
        return await asyncio.to_thread(Following, self._located(request), wait_end)

    async def pack(self, request: ArchiveRequest, call: Call) -> files.Packing:
        """Begin to copy a file or a directory."""
        return await asyncio.to_thread(files.Packing, self._located(request).path)

    async def unpack(self, request: UnpackRequest, call: Call, chunks: AsyncIterator[bytes]) -> Unpacked:
        """Unpack a stream; one that breaks off leaves what has come."""
        return await files.unpack_into(self._located(request), chunks)
