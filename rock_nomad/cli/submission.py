"""Submitting a request: create the sandbox, wait with progress, do the steps, show what they did.  Or a program."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rock._connection import Connection
from rock._files import LocalSource, receive_file
from rock._gateway import Gateway
from rock._start import start_sandbox
from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.errors import CommandFailed, RockException
from rock.wire.sizes import format_size
from rock.wire.spec import SandboxSpec
from rock_nomad.cli.output import Progress, describe, out, say
from rock_nomad.config import environment_with
from rock_nomad.requestfile import Download, RequestFile, Run, Step, Upload

__all__ = ["Program", "create_and_wait", "submit_all"]

_SESSION = "request"
_HOLD = 2.0  # seconds between two looks at what a sandbox waits for


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A trainer's own program, which starts its sandboxes itself."""

    path: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.stem


async def submit_all(gateway: Gateway, requests: Sequence[RequestFile | Program], *, keep: bool) -> int:
    """Run requests one after the other; 0 if all went as they should.  One that fails does not stop the rest."""
    failed: list[str] = []
    for request in requests:
        try:
            if isinstance(request, Program):
                await _run_program(gateway, request)
            else:
                await _submit(gateway, request, keep=keep)
        except RockException as error:
            say(f"{request.name}: failed: {error.message}")
            failed.append(request.name)
    if len(requests) > 1 or failed:
        others = f"; not {', '.join(failed)}" if failed else ""
        say(f"{len(requests) - len(failed)} of {len(requests)} went as they should{others}")
    return 1 if failed else 0


async def _submit(gateway: Gateway, request: RequestFile, *, keep: bool) -> None:
    """Run a request file to its end; the sandbox is stopped unless it is to be kept."""
    say(f"{request.name}: submitted")
    status = await create_and_wait(gateway, request.spec)
    try:
        await _run_steps(gateway, status, request)
    finally:
        if not keep:
            await gateway.call(op.STOP_SANDBOX, m.Empty(), sandbox_id=status.sandbox_id)
            say(f"{request.name}: sandbox {status.sandbox_id} stopped")


async def _run_program(gateway: Gateway, program: Program) -> None:
    """Run a program of this machine, which finds the gateway by its environment.

    Raises CommandFailed: it ends otherwise than it should.
    """
    out.print(f"{program.name} $ python {program.path.name}", style="bold", markup=False)
    address = gateway.address
    environment = environment_with(ROCK_BASE_URL=address.url, ROCK_API_KEY=address.api_key or "")
    process = await asyncio.create_subprocess_exec(sys.executable, str(program.path), env=environment)
    try:
        code = await process.wait()
    except asyncio.CancelledError:  # Ctrl-C has reached the program, too: it ends what it has started
        await process.wait()
        raise
    if code != 0:
        raise CommandFailed(f"{program.path} ended with exit code {code}")


async def create_and_wait(gateway: Gateway, spec: SandboxSpec) -> m.SandboxStatus:
    """A sandbox that answers, having shown what it waited for.  If that fails there is no sandbox.

    Raises the typed end of a sandbox that ended first.
    """
    begun = time.monotonic()
    if spec.sandbox_id is None:
        spec = msgspec.structs.replace(spec, sandbox_id=uuid.uuid4().hex)
    with Progress() as progress:
        status = await start_sandbox(gateway, spec, hold=_HOLD, on_status=lambda seen: progress.show(describe(seen)))
    say(f"{describe(status)} ({time.monotonic() - begun:.2f} s)")
    for warning in status.warnings:
        say(f"note: {warning}")
    return status


async def _run_steps(gateway: Gateway, status: m.SandboxStatus, request: RequestFile) -> None:
    """Do a request's steps in one session of the sandbox.

    Raises CommandFailed at the first step that ends otherwise than it should.
    """
    if not request.steps:
        return
    connection = Connection(gateway, status.sandbox_id)
    connection.learn(status.rocklet)
    await connection.call(op.CREATE_SESSION, m.CreateSessionRequest(session=_SESSION))
    for step in request.steps:
        await _do(connection, step, request)


async def _do(connection: Connection, step: Step, request: RequestFile) -> None:
    if isinstance(step, Upload):
        await _upload(connection, request.local(step.upload), step.to)
    elif isinstance(step, Download):
        target = request.local(step.to)
        wanted = m.DownloadRequest(path=step.download)
        size, _ = await connection.download(op.DOWNLOAD, wanted, lambda route, call: receive_file(route, call, target))
        say(f"{request.name}: downloaded {step.download} ({format_size(size)})")
    else:
        await _run(connection, step, request.name)


async def _upload(connection: Connection, source: Path, target: str) -> None:
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    for file in files:
        inside = target if file == source else f"{target}/{file.relative_to(source)}"
        wanted = m.UploadRequest(path=inside, mode=file.stat().st_mode & 0o777)
        body = LocalSource(file)
        await connection.upload(op.UPLOAD, wanted, body=body, size=body.size)
    say(f"uploaded {source.name} to {target} ({len(files)} file{'s' if len(files) != 1 else ''})")


async def _run(connection: Connection, step: Run, name: str) -> None:
    out.print(f"{name} $ {step.run}", style="bold", markup=False)
    run = m.RunRequest(command=step.run, session=_SESSION, timeout=step.timeout)
    seen = await connection.call(op.RUN_IN_SESSION, run)
    if seen.output:
        out.print(seen.output, end="" if seen.output.endswith("\n") else "\n", markup=False)
    ended = f"exit {seen.exit_code}" if seen.exit_code is not None else "no exit code"
    ended += f" ({seen.failure_reason})" if seen.failure_reason else ""
    say(f"{name}: {ended} ({seen.duration:.2f} s)")
    if seen.exit_code != step.expect_exit:
        raise CommandFailed(f"{name}: {step.run!r}: {ended}, but {step.expect_exit} was expected")
