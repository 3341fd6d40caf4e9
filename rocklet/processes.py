"""Processes of commands: how they are started, watched and ended, and what they get to see."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import subprocess
import threading
from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from rock.wire.errors import CommandFailed, InvalidRequest

__all__ = ["Account", "Child", "build_environment", "find_account", "signal_group", "spawn"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OOM_SCORE_ADJ = b"1000"  # of commands: the kernel takes one of them before it takes the rocklet


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the sandbox."""

    name: str
    uid: int
    gid: int
    home: str


def find_account(name: str | None) -> Account | None:
    """The account of that name; None if that is the rocklet's own.

    Raises InvalidRequest: the sandbox has no such user.
    """
    if name is None:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise InvalidRequest(
            f"the sandbox has no user {name!r}; add it to the image, or leave user out",
            details={"field": "user", "value": name, "expected": "a name in /etc/passwd"},
        ) from None
    if entry.pw_uid == os.getuid():
        return None
    return _to_account(entry)


def build_environment(account: Account | None, *layers: Mapping[str, str]) -> dict[str, str]:
    """A command's environment: a few plain variables and the layers, later ones winning.

    It is built, never inherited, so that nothing the rocklet was told reaches a command.
    """
    account = account or _own_account()
    base = {"PATH": _PATH, "HOME": account.home, "USER": account.name, "LANG": "C.UTF-8", "TERM": "dumb"}
    for layer in layers:
        base.update(layer)
    return base


@cache
def _own_account() -> Account:
    try:
        return _to_account(pwd.getpwuid(os.getuid()))
    except KeyError:  # a container may run as a number that /etc/passwd does not know
        return Account(name=str(os.getuid()), uid=os.getuid(), gid=os.getgid(), home="/")


def _to_account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir)


class Child:
    """A child process that leads a session, and so a process group, of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int] = self._loop.create_future()
        """Its exit code as a shell tells it: 128 + n after signal n."""
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:  # gVisor, and kernels before 5.3
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
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._tell(self._process.wait())

    def _wait_in_thread(self) -> None:
        returncode = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, returncode)

    def _tell(self, returncode: int) -> None:
        if not self.exited.done():
            self.exited.set_result(returncode if returncode >= 0 else 128 - returncode)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    account: Account | None,
    streams: tuple[int, int, int],
) -> Child:
    """Start a program in a session of its own.  `streams` are its stdin, stdout and stderr, or subprocess constants.

    Raises CommandFailed: no such program, no such directory, or the machine refuses.
    """
    groups = None if account is None else os.getgrouplist(account.name, account.gid)
    try:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            argv,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=env,
            cwd=cwd,
            start_new_session=True,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=groups,
        )
    except (OSError, ValueError) as error:
        raise _explain(error, argv[0], cwd) from error
    with contextlib.suppress(OSError), open(f"/proc/{process.pid}/oom_score_adj", "wb", buffering=0) as score:
        score.write(_OOM_SCORE_ADJ)
    return Child(process)


def _explain(error: OSError | ValueError, program: str, cwd: str) -> CommandFailed:
    said = error.strerror if isinstance(error, OSError) else str(error)
    if not os.path.isdir(cwd):
        return CommandFailed(f"the directory {cwd!r} does not exist; create it, or give another cwd")
    if isinstance(error, FileNotFoundError):
        return CommandFailed(f"there is no program {program!r}; check its name and PATH, or install it")
    return CommandFailed(f"{program!r} could not be started: {said}")


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


