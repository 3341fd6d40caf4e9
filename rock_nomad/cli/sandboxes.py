"""The commands about sandboxes: submit, ls, status, why, stop."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from rock._gateway import Gateway
from rock.wire import messages as m
from rock.wire import operations as op
from rock.wire.reasons import REASONS, Family
from rock_nomad.cli.options import FileArgument, RequestOptions, SandboxArgument, connect, read_request, request_files
from rock_nomad.cli.output import Format, FormatOption, describe, out, print_json, print_sandboxes, say
from rock_nomad.cli.submission import create_and_wait, submit_all

__all__ = ["COMMANDS"]

_ADVICE = {
    Family.BAD_REQUEST: "fix the call",
    Family.INTERNAL: "retry, or mask the episode: it is no reward",
    Family.COMMAND: "keep it in the trajectory",
}


async def submit(
    file: FileArgument = None,
    *,
    image: RequestOptions.Image = None,
    cpus: RequestOptions.Cpus = None,
    memory: RequestOptions.Memory = None,
    disk: RequestOptions.Disk = None,
    gpus: RequestOptions.Gpus = None,
    gpu_type: RequestOptions.GpuType = None,
    isolation: RequestOptions.Isolation = None,
    sandbox_id: RequestOptions.Id = None,
    env: RequestOptions.Env = None,
    keep: Annotated[bool, typer.Option("--keep", help="Do not stop a file's sandbox after its steps.")] = False,
) -> int:
    """Start a sandbox; with a request file, do its steps and stop it; or run a program (.py) of this machine."""
    if file is not None and (file.is_dir() or file.suffix == ".py"):
        return await submit_all(connect(), request_files(file), keep=keep)
    request = read_request(
        file,
        env,
        image=image,
        cpus=cpus,
        memory=memory,
        disk=disk,
        gpus=gpus,
        gpu_type=gpu_type,
        isolation=isolation,
        sandbox_id=sandbox_id,
    )
    gateway = connect()
    if request.steps:
        return await submit_all(gateway, [request], keep=keep)
    status = await create_and_wait(gateway, request.spec)
    out.print(status.sandbox_id, markup=False)
    return 0


async def ls(
    *,
    state: Annotated[m.State | None, typer.Option(help="Only sandboxes in this state.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with this label.")] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """List sandboxes, newest first."""
    gateway = connect()
    sandboxes: list[m.SandboxStatus] = []
    cursor: str | None = None
    while True:
        request = m.ListSandboxesRequest(state=state, label=label or [], cursor=cursor)
        page = await gateway.call(op.LIST_SANDBOXES, request)
        sandboxes += page.sandboxes
        cursor = page.next_cursor
        if cursor is None:
            break
    print_sandboxes(sandboxes, output)


async def status(sandbox: SandboxArgument, output: FormatOption = Format.TABLE) -> None:
    """Show what is known about a sandbox."""
    seen = await _get(connect(), sandbox)
    if output is Format.JSON:
        print_json(_without_token(seen))
        return
    say(describe(seen))
    print_sandboxes([seen], output)
    for name, phase in seen.phases.items():
        said = f": {phase.message}" if phase.message else ""
        out.print(f"{name:<12} {phase.status.value}{said}", markup=False)
    for warning in seen.warnings:
        say(f"note: {warning}")


async def why(sandbox: SandboxArgument, output: FormatOption = Format.TABLE) -> None:
    """Say why a sandbox is as it is: what it waits for, or why it ended and what to do about that."""
    seen = await _get(connect(), sandbox)
    facts = REASONS[seen.reason] if seen.reason else None
    if output is Format.JSON:
        family = facts.family.value if facts else None
        remedy = facts.remedy if facts else None
        told = {"sandbox_id": seen.sandbox_id, "state": seen.state, "reason": seen.reason, "message": seen.message}
        print_json({**told, "family": family, "remedy": remedy})
        return
    out.print(describe(seen), markup=False)
    if facts:
        out.print(f"For a trainer: {_ADVICE[facts.family]}.", markup=False)


async def stop(
    sandboxes: Annotated[list[str], typer.Argument(metavar="SANDBOX...", help="Sandbox ids.")],
) -> None:
    """Stop sandboxes; stopping one that has ended changes nothing."""
    gateway = connect()
    stopped = await asyncio.gather(
        *(gateway.call(op.STOP_SANDBOX, m.Empty(), sandbox_id=each) for each in sandboxes), return_exceptions=True
    )
    for seen in stopped:
        if isinstance(seen, m.SandboxStatus):
            say(describe(seen))
    for failure in stopped:
        if isinstance(failure, BaseException):
            raise failure


async def _get(gateway: Gateway, sandbox_id: str) -> m.SandboxStatus:
    return await gateway.call(op.GET_SANDBOX, m.GetSandboxRequest(), sandbox_id=sandbox_id)


def _without_token(seen: m.SandboxStatus) -> dict[str, object]:
    """A status fit for a terminal's scrollback."""
    return {name: getattr(seen, name) for name in seen.__struct_fields__ if name != "rocklet"}


COMMANDS = (submit, ls, status, why, stop)
