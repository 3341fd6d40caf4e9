"""The `raw_exec` driver: a process of the machine, below a guard of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from rock_nomad.embedded.drivers.cgroups import Cgroups
from rock_nomad.embedded.drivers.driver import Capabilities, Driver, RunningTask, StartRefused, TaskSpec
from rock_nomad.embedded.lifecycle import Exited

_GUARD = Path(__file__).with_name("guard.py")
_LAUNCH_FAILURE = "failed to launch command with executor: rpc error: code = Unknown desc = "
_DEFAULT_SIGNAL = "SIGINT"


class RawExecTask:
    """A task below its guard."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop_order: dict[str, float]
    ) -> None:
        self._reader, self._writer, self._stop_order = reader, writer, stop_order

    async def wait(self) -> Exited:
        """Return once the guard has ended everything."""
        line = b""
        with contextlib.suppress(ConnectionError):
            line = await self._reader.readline()
        self._writer.close()
        if not line:
            # Somebody killed the guard; its leader died with it.
            return Exited(exit_code=137, signal=int(signal.SIGKILL), message="the guard of the task was killed")
        ended = json.loads(line)["exited"]
        return Exited(exit_code=ended["code"], signal=ended["signal"], oom_killed=ended["oom"])

    async def stop(self) -> None:
        """Have the guard signal the task, and end all of it after the grace."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(json.dumps({"stop": self._stop_order}).encode() + b"\n")


class RawExecDriver:
    """Starts processes.  The keeper, which forks the guards, starts with the first of them."""

    capabilities = Capabilities({"driver.raw_exec": "1"}, needs_directories=True)

    def __init__(self) -> None:
        self._keeper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._cgroups = Cgroups(f"rock-nomad-embedded-{os.getpid()}")

    async def start(self, spec: TaskSpec) -> RawExecTask:
        """Start the task's command."""
        order = self._order(spec)
        reader, writer = await asyncio.open_unix_connection(sock=self._new_guard())
        try:
            writer.write(json.dumps(order).encode() + b"\n")
            reply = json.loads(await reader.readline() or '{"failed": "the guard of the task was killed"}')
            if "failed" in reply:
                raise StartRefused(_start_failure(order["argv"], reply["failed"]))
        except BaseException:
            writer.close()  # the guard sees the end of its channel and leaves nothing
            raise
        stop = {"signal": int(_signal_number(spec.kill_signal)), "grace": spec.kill_timeout}
        return RawExecTask(reader, writer, stop)

    async def close(self) -> None:
        """End the keeper."""
        await asyncio.to_thread(self._drop_keeper)
        self._cgroups.close()

    def _order(self, spec: TaskSpec) -> dict[str, Any]:
        command = spec.config.get("command")
        if not isinstance(command, str) or not command:
            raise StartRefused("failed to launch command with executor: command must be specified")
        _signal_number(spec.kill_signal)
        program = _find_program(command, spec)
        logs = f"{spec.directories.logs}/{spec.task}"
        return {
            "argv": [program, *map(str, spec.config.get("args") or ())], "env": spec.environment,
            "cwd": spec.config.get("work_dir") or spec.directories.home,
            "stdout": f"{logs}.stdout", "stderr": f"{logs}.stderr",
            "file_bytes": spec.log_file_bytes, "files": spec.log_files,
            "cgroups": self._cgroups.create(f"{spec.allocation_id}.{spec.task}", spec.memory_mb),
        }  # fmt: skip

    def _new_guard(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._keeper_channel(), [b"+"], [theirs.fileno()])
            except ConnectionError:  # the keeper was killed: its guards live on, new ones need a new keeper
                self._drop_keeper()
                socket.send_fds(self._keeper_channel(), [b"+"], [theirs.fileno()])
        ours.setblocking(False)
        return ours

    def _drop_keeper(self) -> None:
        if self._control is not None and self._keeper is not None:
            self._control.close()
            self._keeper.wait()  # it ends with its channel, if it has not ended before
        self._control = self._keeper = None

    def _keeper_channel(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            with theirs:
                self._keeper = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_GUARD)],
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True,
                )  # fmt: skip
        return self._control


def _start_failure(argv: list[str], reason: str) -> str:
    command = f"failed to start command path={json.dumps(argv[0])} --- args=[{' '.join(map(json.dumps, argv))}]"
    return f"{_LAUNCH_FAILURE}{command}: fork/exec {argv[0]}: {reason.lower()}"


def _find_program(command: str, spec: TaskSpec) -> str:
    path = spec.environment.get("PATH", os.defpath)
    candidates = (f"{spec.directories.home}/{command}", f"{spec.directories.local}/{command}")
    found = next((one for one in candidates if os.path.isfile(one)), None) or shutil.which(command, path=path)
    if found is None and not (os.path.isabs(command) and os.path.isfile(command)):
        raise StartRefused(f'{_LAUNCH_FAILURE}binary "{command}" could not be found')
    return found or command


def _signal_number(name: str) -> signal.Signals:
    try:
        return signal.Signals[name or _DEFAULT_SIGNAL]
    except KeyError:
        raise StartRefused(f"failed to parse signal: {name!r}") from None


_: type[Driver] = RawExecDriver
_task: type[RunningTask] = RawExecTask
