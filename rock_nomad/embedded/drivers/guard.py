"""Guards: each holds one task, ends everything below it, and outlives nobody's interest in it.

Run as `python -I -S guard.py` with a Unix socket as stdin: the keeper.  It forks one guard for each socket it is sent,
which costs a millisecond where a fresh interpreter costs twenty.  A guard is a child subreaper, so that even a daemon
that forked twice into a session of its own stays below it.  When its socket ends, whoever asked for the task is gone
(killed -9, say): the guard ends the task.  Stand-alone by design: it imports the standard library only.

On a guard's socket, one JSON object a line.  To it: the order (see `Order`), then perhaps
`{"stop": {"signal", "grace"}}`.  From it: `{"started": pid}` or `{"failed": text}`, then
`{"exited": {"code", "signal", "oom"}}` when all is over.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CHUNK = 65536
_REAP_INTERVAL = 0.05  # seconds between looks for the living while everything is being killed
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
_libc = ctypes.CDLL(None, use_errno=True)

Order = dict[str, Any]  # argv, env, cwd, stdout, stderr, file_bytes, files, cgroups


class LogFile:
    """A log as Nomad lays it out: `<path>.0`, then `.1` when that is full, the oldest deleted."""

    def __init__(self, path: str, file_bytes: int, files: int) -> None:
        self._path, self._file_bytes, self._files = path, file_bytes, files
        self._number = self._size = 0
        self._fd = self._open()

    def write(self, data: bytes) -> None:
        """Append; a full disk loses output, never the task."""
        while data:
            if self._size >= self._file_bytes:
                self._rotate()
            part = data[: self._file_bytes - self._size]
            with contextlib.suppress(OSError):
                os.write(self._fd, part)
            self._size += len(part)
            data = data[len(part) :]

    def _open(self) -> int:
        return os.open(f"{self._path}.{self._number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def _rotate(self) -> None:
        os.close(self._fd)
        self._number, self._size = self._number + 1, 0
        self._fd = self._open()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._path}.{self._number - self._files}")


class Guard:
    """One task, from its order to its end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._received = b""
        self._wake, wake_write = os.pipe()
        for fd in (self._wake, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._poll = select.poll()
        self._logs: dict[int, LogFile] = {}
        self._leader = 0
        self._status: int | None = None  # the leader's, once it is reaped
        self._kill_at: float | None = None

    def run(self) -> None:
        """Obey the order; return when nothing of the task is left."""
        order = self._next_message(block=True)
        if order is None:
            return
        try:
            self._start(order)
        except OSError as error:
            _remove_cgroups(order["cgroups"])
            self._send({"failed": os.strerror(error.errno or 0)})
            return
        self._send({"started": self._leader})
        try:
            self._watch()
        finally:
            self._end_everything()
        self._drain()
        oom = _oom_kills(order["cgroups"]) > 0
        _remove_cgroups(order["cgroups"])
        self._send({"exited": {**_exit_fields(self._status or 0), "oom": oom}})

    def _start(self, order: Order) -> None:
        pipes = {name: os.pipe() for name in ("stdout", "stderr")}
        failure_read, failure_write = os.pipe()
        self._leader = os.fork()
        if self._leader == 0:
            _become_task(order, pipes["stdout"][1], pipes["stderr"][1], failure_write)
        os.close(failure_write)
        for name, (read, write) in pipes.items():
            os.close(write)
            os.set_blocking(read, False)
            self._logs[read] = LogFile(order[name], order["file_bytes"], order["files"])
        failure = os.read(failure_read, 16)
        os.close(failure_read)
        if failure:
            os.waitpid(self._leader, 0)
            raise OSError(int(failure), "")

    def _watch(self) -> None:
        for fd in (self._channel.fileno(), self._wake, *self._logs):
            self._poll.register(fd, select.POLLIN)
        while self._status is None:
            wait = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic()) * 1000
            for fd, _ in self._poll.poll(wait):
                if fd in self._logs:
                    self._copy(fd)
                elif fd == self._wake:
                    self._reap()
                elif not self._obey():
                    return
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                return

    def _obey(self) -> bool:
        """Act on what came through the channel; False once it is closed."""
        message = self._next_message(block=False)
        if message is None:
            return False
        if "stop" in message and self._kill_at is None:
            self._kill_at = time.monotonic() + message["stop"]["grace"]
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, message["stop"]["signal"])
        return True

    def _next_message(self, *, block: bool) -> Order | None:
        """The next object; `{}` if none is complete yet, None at the end of the channel."""
        while b"\n" not in self._received:
            try:
                data = self._channel.recv(_CHUNK)
            except ConnectionResetError:  # it closed without having read what we said
                return None
            if not data:
                return None
            self._received += data
            if not block:
                break
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            return {}
        self._received = rest
        message: Order = json.loads(line)
        return message

    def _copy(self, fd: int) -> bool:
        """Move what a pipe holds to its log; False at its end, or when it is empty for now."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._poll.unregister(fd)
            os.close(fd)
            del self._logs[fd]
            return False
        self._logs[fd].write(data)
        return True

    def _drain(self) -> None:
        for fd in tuple(self._logs):
            while self._copy(fd):
                pass

    def _reap(self) -> bool:
        """Collect the dead; False when no child is left at all."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, _CHUNK)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._leader:
                self._status = status

    def _end_everything(self) -> None:
        """Stop everything below, then kill it: what is stopped cannot fork away from the second look."""
        me = os.getpid()
        while self._reap():
            stopped: set[int] = set()
            while found := set(_descendants(me)) - stopped:
                _signal_all(found, signal.SIGSTOP)
                stopped |= found
            _signal_all(stopped, signal.SIGKILL)
            select.select([self._wake], [], [], _REAP_INTERVAL)

    def _send(self, message: Order) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: the task ends all the same
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def _become_task(order: Order, stdout: int, stderr: int, failure: int) -> None:
    """In the forked child: join the cgroups, then become the task; never returns."""
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # if the guard itself is killed
        signal.set_wakeup_fd(-1)
        for number in (*_IGNORED, signal.SIGCHLD, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for path in order["cgroups"]:
            with open(f"{path}/cgroup.procs", "w") as procs:
                procs.write("0")
        os.chdir(order["cwd"])
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - the task itself
    except OSError as error:
        os.write(failure, str(error.errno).encode())
    finally:
        os._exit(127)


def _descendants(pid: int) -> list[int]:
    found, queue = [], [pid]
    while queue:
        children = _children(queue.pop())
        found += children
        queue += children
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                children += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        # The process ended meanwhile, or the kernel was built without these files.
        return _children_by_scan(pid) if os.path.isdir(f"/proc/{pid}") else []
    return children


def _children_by_scan(parent: int) -> list[int]:
    children = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
            # The name may hold spaces and parentheses: the fields begin after the last one.
            if int(file.read().rpartition(")")[2].split()[1]) == parent:
                children.append(int(entry))
    return children


def _signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _exit_fields(status: int) -> dict[str, int]:
    # As Nomad counts: a signal is exit code 128 + n, and is named as well.
    if os.WIFSIGNALED(status):
        return {"code": 128 + os.WTERMSIG(status), "signal": os.WTERMSIG(status)}
    return {"code": os.WEXITSTATUS(status), "signal": 0}


def _oom_kills(cgroups: list[str]) -> int:
    for path in cgroups:
        for name in ("memory.oom_control", "memory.events"):  # cgroup v1, v2
            with contextlib.suppress(OSError), open(f"{path}/{name}", encoding="ascii") as file:
                counts = dict(line.split() for line in file)
                return int(counts.get("oom_kill", 0))
    return 0


def _remove_cgroups(cgroups: list[str]) -> None:
    for path in (*cgroups, *{os.path.dirname(path) for path in cgroups}):
        with contextlib.suppress(OSError):  # the parent may hold other tasks
            os.rmdir(path)


def keep(control: socket.socket) -> None:
    """Fork a guard for each socket that arrives, until the sender is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guards report to whoever ordered them, not here
    while True:
        _, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not fds:
            return
        if os.fork() == 0:
            control.close()
            _guard(fds[0])
        os.close(fds[0])


def _guard(fd: int) -> None:
    try:
        os.setsid()
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        Guard(socket.socket(fileno=fd)).run()
    finally:
        os._exit(0)


if __name__ == "__main__":
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    channel = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    # A guard that held the keeper's channel as its stdin would hide the keeper's death.
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    keep(channel)
