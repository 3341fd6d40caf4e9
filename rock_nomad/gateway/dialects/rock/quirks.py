"""What ROCK's clients depend on and no other wire has: a table, each line with its source.

Whatever waits or keeps state is an option of an operation and so the native wire's too; here stands who asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rock.wire.messages import Observation

__all__ = [
    "ANNOUNCEMENT",
    "DEFAULT_DISK",
    "NOTHING_EXPECTED",
    "PROBE_HOLD",
    "QUIRKS",
    "START_HOLD",
    "STATUS_HOLD",
    "SYNC_START_LIMIT",
    "TEMPORARY_IDLE_TIMEOUT",
    "Quirk",
    "clean_output",
    "gone",
    "is_temporary",
    "probed_process",
]


@dataclass(frozen=True, slots=True)
class Quirk:
    """One thing that this dialect does otherwise."""

    what: str
    how: str
    """By which option of which operation, or in which rendering."""
    source: str


_CLIENT = "rl-rock 1.11, rock/sdk/sandbox/client.py"
_BASH = "rl-rock 1.11, rock/rocklet/linux.py"
_PROXY = "rl-rock 1.11, rock/sandbox/service/sandbox_proxy_service.py"
_MANAGER = "rl-rock 1.11, rock/sandbox/sandbox_manager.py"
_ROCKLET = "rl-rock 1.11, rock/rocklet/rocklet.py"
_ROLL = "alibaba/ROLL's ROCK environments"

QUIRKS = (
    Quirk("errors are HTTP 200 with status Failed", "envelope", "rl-rock 1.11, rock/actions/response.py"),
    Quirk("start_async answers within 5 s, with a host", "create_sandbox: hold", f"{_CLIENT}: start"),
    Quirk("a start whose caller goes away leaves nothing", "create_sandbox: on_abandoned=stop", f"{_CLIENT}: start"),
    Quirk("start waits 85 s for the sandbox to run", "reply", _MANAGER),
    Quirk("an id may be used anew once its sandbox ended", "create_sandbox: on_existing", _MANAGER),
    Quirk("get_status of a pending sandbox is held", "get_sandbox: hold", f"{_CLIENT}: start polls every 3 s"),
    Quirk("get_status counts as an action", "get_sandbox: renew", f"{_PROXY}: _update_expire_time"),
    Quirk("`status` is never null and has docker_run", "reply", f"{_CLIENT}: _parse_error_message_from_status"),
    Quirk("a 50G disk is the client's default, no wish", "request", "rl-rock 1.11, rock/sdk/sandbox/config.py"),
    Quirk("whitespace while a command runs", "heartbeat", "rl-rock 1.11, rock/utils/http.py: read timeout"),
    Quirk("the process behind PIDSTART is watched", "run_in_session: announces", f"{_CLIENT}: start_nohup_process"),
    Quirk("kill -0 of it is held", "wait_process: hold, only_announced", f"{_CLIENT}: wait_for_process_completion"),
    Quirk("kill -0 fails only if the process is gone", "reply", f"{_CLIENT}: any exception means completed"),
    Quirk("a job notice `[n] PID` is part of the output", "as bash prints it", f"{_ROLL}: pid of nohup ... &"),
    Quirk("a syntax error runs nothing", "run_in_session: check_syntax", f"{_BASH}: bash -n; {_ROLL}"),
    Quirk("a status other than 0 is Failed if check=raise", "reply", f"{_BASH}: NonZeroExitCodeError"),
    Quirk("output without control sequences and outer blanks", "reply", f"{_BASH}: _strip_control_chars, strip"),
    Quirk("an existing session is made again", "create_session: on_existing=keep", f"{_ROLL}; {_BASH}"),
    Quirk("sessions bash-<19 digits> close when idle", "create_session: idle_timeout", f"{_CLIENT}: arun"),
    Quirk("an absent session can be closed", "reply", "as seen of a server of ROCK's"),
    Quirk("what execute could not run has exit_code -1", "reply: why in stderr", f"{_ROCKLET}: execute; {_ROLL}"),
    Quirk("text files are read with \\n line ends", "reply", f"{_ROCKLET}: read_file"),
    Quirk("stop of what is unknown succeeds", "reply", f"{_MANAGER}: dangling stop"),
    Quirk("no object store is {Expiration: null}", "reply", "rl-rock 1.11, rock/sdk/sandbox/oss_client.py"),
    Quirk("repeated slashes are one", "middleware", f"{_CLIENT}: base_url that ends in a slash"),
    Quirk("the key may be Basic's password", "auth", "httpx: http://any:KEY@host"),
)
"""Every quirk of this dialect."""

START_HOLD = 3.0  # seconds, after those that the cluster's first word may take: 5 together
STATUS_HOLD = 20.0  # seconds
SYNC_START_LIMIT = 85.0  # seconds
PROBE_HOLD = 4.0  # seconds: the client's own patience with `kill -0` begins at twice 5
TEMPORARY_IDLE_TIMEOUT = 600.0  # seconds; the client looks after its background commands every 298 at the latest
ANNOUNCEMENT = "PIDSTART"
NOTHING_EXPECTED = "SHELLPS1PREFIX"
"""What ROCK's prompt is, and so what every command that expects nothing else ends with."""
DEFAULT_DISK = "50G"

_TEMPORARY = re.compile(r"bash-[0-9]{19}")
_PROBE = re.compile(r"\s*kill -0 ([0-9]{1,10})\s*", re.ASCII)
_CONTROL = re.compile(r"\x1b[@-_][0-?]*[ -/]*[@-~]")


def is_temporary(session: str) -> bool:
    """Whether the client has made the session for one call, and will not close it."""
    return _TEMPORARY.fullmatch(session) is not None


def probed_process(command: str) -> int | None:
    """The process whose life a command asks for, if it does nothing else."""
    found = _PROBE.fullmatch(command)
    return int(found[1]) if found and 0 < int(found[1]) < 2**31 else None


def clean_output(output: str) -> str:
    """Output as ROCK tells it."""
    return (_CONTROL.sub("", output) if "\x1b" in output else output).strip()


def gone(pid: int) -> Observation:
    """What `kill -0` says of a process that has ended."""
    return Observation(output=f"/bin/bash: line 1: kill: ({pid}) - No such process", exit_code=1)
