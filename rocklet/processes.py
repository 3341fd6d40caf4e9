"""Processes of commands: how they are started, watched, reaped and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from rock.wire.errors import CommandFailed, LimitReached
from rocklet.background import Background
from rocklet.cgroups import Cgroup
from rocklet.memory import OomCounter
from rocklet.surroundings import Surroundings

__all__ = ["Child", "Children", "descendants", "group_members", "is_newborn", "signal_group", "signal_process"]

log = logging.getLogger(__name__)

_OOM_SCORE_ADJ = b"1000"  # of commands: the kernel takes one of them before it takes the rocklet
_KILL_ROUNDS = 100  # sweeps over /proc until nothing is left that could have forked meanwhile
_NEWBORN = 0.05  # seconds; the kernel tells a process's beginning to a hundredth
_END_TIMEOUT = 5.0  # seconds for the kernel to end what was killed; longer only behind a disk that hangs
_PR_SET_CHILD_SUBREAPER = 36


class Child:
    """A child process that leads a session, and so a process group, of its own."""

    def __init__(self, process: subprocess.Popen[bytes], on_exit: Callable[[int], None]) -> None:
        self.pid = process.pid
        self._process = process
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        """Its exit code as a shell tells it: 128 + n after signal n."""
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:  # gVisor has no pidfds
            threading.Thread(target=self._wait_in_thread, name=f"wait {self.pid}", daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._reap)

    def signal_group(self, number: int) -> None:
        """Send a signal to its process group, as long as it has not been reaped."""
        if not self.exited.done():
            signal_group(self.pid, number)

    def signal(self, number: int) -> None:
        """Send a signal to it alone, as long as it has not been reaped."""
        if not self.exited.done():
            signal_process(self.pid, number)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._tell(self._process.wait())

    def _wait_in_thread(self) -> None:
        returncode = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, returncode)

    def _tell(self, returncode: int) -> None:
        self.exited.set_result(returncode if returncode >= 0 else 128 - returncode)
        self._on_exit(self.pid)


class Children:
    """The rocklet's child processes.

    With `adopt` it also becomes the parent of every process below it that has lost its own, as process 1 of a container
    is anyway: then it reaps them, and its end is theirs, however they were forked.
    """

    def __init__(self, *, adopt: bool) -> None:
        self._children: dict[int, Child] = {}
        self._adopts = adopt
        self.ooms = OomCounter()
        """How many of them the kernel has killed for want of memory."""
        self.background = Background(self._may_reap, self.ooms)
        """What they leave behind."""
        if adopt:
            _become_subreaper()
            loop = asyncio.get_running_loop()
            # Not add_signal_handler: uvloop keeps SIGCHLD for its own subprocesses, of which there are none here.
            signal.signal(signal.SIGCHLD, lambda *_: loop.call_soon_threadsafe(self._reap_orphans))

    def spawn(self, argv: Sequence[str], surroundings: Surroundings, *, streams: tuple[int, int, int]) -> Child:
        """Start a program in a session of its own.  `streams` are its stdin, stdout, stderr, as subprocess takes them.

        Raises CommandFailed: no such program, no such directory; LimitReached: the sandbox has no room for a process.
        """
        account = surroundings.account
        groups = None if account is None else os.getgrouplist(account.name, account.gid)
        try:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                argv,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=surroundings.env,
                cwd=surroundings.cwd,
                start_new_session=True,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=groups,
            )
        except (OSError, ValueError) as error:
            raise _explain(error, argv[0], surroundings.cwd) from error
        with contextlib.suppress(OSError), open(f"/proc/{process.pid}/oom_score_adj", "wb", buffering=0) as score:
            score.write(_OOM_SCORE_ADJ)
        child = self._children[process.pid] = Child(process, self._forget)
        return child

    async def end_all(self) -> None:
        """Kill every child and all that they have started."""
        for _ in range(_KILL_ROUNDS):
            victims = self._find_living()
            for pid in victims:
                signal_process(pid, signal.SIGKILL)
            if not victims:
                break
            await asyncio.sleep(0)
        if exits := [child.exited for child in self._children.values()]:
            await asyncio.wait(exits, timeout=_END_TIMEOUT)
        self.background.close()
        self.ooms.close()
        if self._adopts:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _find_living(self) -> list[int]:
        """Every live child, and what is below it."""
        parents = {pid: parent for pid, parent, _ in _read_processes()}
        generation = parents.keys() & self._children.keys()
        if self._adopts:
            generation = {pid for pid, parent in parents.items() if parent == os.getpid()}
        return _with_descendants(generation, parents)

    def _may_reap(self, pid: int) -> bool:
        return self._adopts and pid not in self._children

    def _forget(self, pid: int) -> None:
        del self._children[pid]
        if self._adopts:
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        """Reap what has been adopted and has ended.  A child of our own is left to whoever watches it."""
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in self._children:
                    return  # its reaping brings us back here
                self.background.reap(found.si_pid)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def is_newborn(pid: int) -> bool:
    """Whether a process began so short a while ago that it may still have its parent's signal handlers."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            began = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return False
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began < _NEWBORN


def group_members(group: int) -> list[int]:
    """The processes of a process group."""
    return [pid for pid, _, its_group in _read_processes() if its_group == group]


def descendants(pid: int) -> list[int]:
    """The live processes below a process."""
    parents = {each: parent for each, parent, _ in _read_processes()}
    return _with_descendants({each for each, parent in parents.items() if parent == pid}, parents)


def _with_descendants(generation: set[int], parents: Mapping[int, int]) -> list[int]:
    found: list[int] = []
    while generation:
        found += generation
        generation = {pid for pid, parent in parents.items() if parent in generation}
    return found


def _read_processes() -> Iterator[tuple[int, int, int]]:
    """The pid, parent and process group of every process that is no zombie."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
                # The program's name stands in parentheses and may hold anything, parentheses too.
                state, parent, group, *_ = stat.read().rpartition(b")")[2].split()
                if state != b"Z":
                    yield int(name), int(parent), int(group)


def _become_subreaper() -> None:
    import ctypes  # 5 ms to import, which only a rocklet that is a process of its own has to pay

    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        log.warning("this kernel has no child subreapers: daemons of commands may outlive the rocklet")


def _explain(error: OSError | ValueError, program: str, cwd: str) -> CommandFailed | LimitReached:
    said = error.strerror if isinstance(error, OSError) else str(error)
    if not os.path.isdir(cwd):
        return CommandFailed(f"the directory {cwd!r} does not exist; create it, or give another cwd")
    if isinstance(error, BlockingIOError):
        return _no_room()
    if isinstance(error, FileNotFoundError):
        return CommandFailed(f"there is no program {program!r}; check its name and PATH, or install it")
    return CommandFailed(f"{program!r} could not be started: {said}")


def _no_room() -> LimitReached:
    """The kernel refuses one more process: the container's limit, or the account's."""
    limit = (Cgroup().read("pids", v1="pids.max", v2="pids.max") or "").strip()
    return LimitReached(
        f"the sandbox has as many processes as it may ({limit or 'the limit is not known'}); end some, close the "
        "session that started them, or raise pids_limit in the cluster's container settings",
        details={"limit": "pids", "value": int(limit) if limit.isdigit() else None},
    )
