"""What is measured: each call of ours, the floor it is held against, and how many times that it may cost."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

from rock.wire import codec
from rock.wire import messages as m
from rock.wire import operations as op
from rock_nomad.bench.load import Subject
from tests.bench.subjects import Subjects

__all__ = ["Case", "Kind", "all_cases"]

_MEGABYTE = 1_000_000
_FIVE_MB = "head -c 5000000 /dev/zero | tr '\\0' x"
_FILE = "/tmp/rock-bench-file"

_CROWD = 32  # sessions that call at once
_SESSION_COUNTS = (1, 8, _CROWD)

Kind = Literal["p50", "p99", "rate"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison: floors that add up, and what is held against their sum."""

    title: str
    floors: Sequence[Subject]
    subjects: Sequence[Subject]
    targets: Mapping[str, float] = field(default_factory=dict)
    """By subject: how many times the floor it may take at most; of a rate, how many times it has to be at least."""
    calls: int
    """In each round."""
    sessions: int = 1
    kind: Kind = "p50"
    """What is compared."""
    conditions: Callable[[], AbstractContextManager[None]] = nullcontext
    """Under which it is measured."""


def all_cases(subjects: Subjects) -> list[Case]:
    """In the order in which they are measured."""
    counts = [count for count in _SESSION_COUNTS if count <= subjects.stage.sessions]
    return [
        Case(
            title="command in a session",
            floors=[subjects.echo(), subjects.pty()],
            subjects=[subjects.direct_runs(), subjects.sdk_runs(), *subjects.peer_runs()],
            targets={"direct": 2.0, "SDK": 2.5},
            calls=300,
        ),
        Case(
            title="command through the gateway",
            floors=[subjects.proxied_echo(), subjects.pty()],
            subjects=[subjects.gateway_runs()],
            targets={"gateway": 2.0},
            calls=300,
        ),
        _execute(subjects),
        *(_create(subjects, count) for count in (1, subjects.stage.sessions)),
        Case(
            title="5 MB of session output",
            floors=[subjects.pty(_FIVE_MB)],
            subjects=[subjects.direct_runs(_FIVE_MB), *subjects.peer_runs(_FIVE_MB)],
            targets={"direct": 2.0},
            calls=5,
        ),
        *_files(subjects),
        Case(
            title="is_alive under CPU load",
            floors=[subjects.echo()],
            subjects=[subjects.direct(op.IS_ALIVE, m.Empty()), *subjects.peers("is_alive")],
            targets={"direct": 5.0},
            calls=300,
            kind="p99",
            conditions=_busy_machine,
        ),
        *(_throughput(subjects, sessions) for sessions in counts),
        *(_gateway_throughput(subjects, sessions) for sessions in counts),
        *_starts(subjects),
    ]


def _execute(subjects: Subjects) -> Case:
    request = m.ExecuteRequest(command=["true"])
    return Case(
        title="execute true",
        floors=[subjects.echo(), subjects.spawn()],
        subjects=[
            subjects.direct(op.EXECUTE, request),
            subjects.gateway(op.EXECUTE, request),
            *subjects.peers("execute", "true"),
        ],
        targets={"direct": 1.5},
        calls=200,
    )


def _create(subjects: Subjects, count: int) -> Case:
    return Case(
        title="create a session" if count == 1 else f"create {count} sessions at once",
        floors=[subjects.bashes(count)],
        subjects=[subjects.direct_creates(count), *subjects.peer_creates(count)],
        targets={"direct": 4.0},
        calls=max(20 // count, 2),
    )


def _files(subjects: Subjects) -> Iterator[Case]:
    """What is sent is sent one way: an echo that answered all of it would be too easy to keep up with."""
    text = "x" * _MEGABYTE
    write, read = m.WriteFileRequest(path=_FILE, content=text), m.ReadFileRequest(path=_FILE)
    upload, content = m.UploadRequest(path=f"{_FILE}-up"), b"x" * 50 * _MEGABYTE
    yield Case(
        title="write 1 MB",
        floors=[subjects.echo(codec.encode(write), answer_bytes=100)],
        subjects=[subjects.direct(op.WRITE_FILE, write), *subjects.peers("write", _FILE, text)],
        targets={"direct": 2.0},
        calls=30,
    )
    yield Case(
        title="read 1 MB",
        floors=[subjects.echo(answer_bytes=_MEGABYTE)],
        subjects=[subjects.direct(op.READ_FILE, read), *subjects.peers("read", _FILE)],
        targets={"direct": 2.0},
        calls=30,
    )
    yield Case(
        title="upload 50 MB",
        floors=[subjects.echo(content, answer_bytes=100)],
        subjects=[subjects.direct(op.UPLOAD, upload, content), *subjects.peers("upload", upload.path, content)],
        targets={"direct": 2.0},
        calls=3,
    )


def _throughput(subjects: Subjects, sessions: int) -> Case:
    return Case(
        title=f"throughput, sessions: {sessions}",
        floors=[subjects.bare_runs()],
        subjects=[subjects.direct_runs(), subjects.sdk_runs(), *subjects.peer_runs()],
        targets={"direct": 0.5} if sessions == _CROWD else {},
        calls=1000,
        sessions=sessions,
        kind="rate",
    )


def _gateway_throughput(subjects: Subjects, sessions: int) -> Case:
    return Case(
        title=f"throughput, sessions: {sessions}, through the gateway",
        floors=[subjects.proxied_runs()],
        subjects=[subjects.gateway_runs()],
        targets={"gateway": 0.5} if sessions == _CROWD else {},
        calls=1000,
        sessions=sessions,
        kind="rate",
    )


def _starts(subjects: Subjects) -> Iterator[Case]:
    bare, *others = subjects.starts()
    targets = {"rocklet": 1.5}
    yield Case(title="first command answered", floors=[bare], subjects=others, targets=targets, calls=2)
    yield Case(title="start a sandbox", floors=[bare], subjects=[subjects.sandboxes()], calls=2)


@contextlib.contextmanager
def _busy_machine() -> Iterator[None]:
    """Twice as many processes that compute as there are CPUs."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            spinner = stack.enter_context(subprocess.Popen(["sh", "-c", "while :; do :; done"]))
            stack.callback(spinner.kill)
        yield
