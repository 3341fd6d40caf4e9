"""`render` and `plan`: the job behind a request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rock.wire import messages as m
from rock.wire import operations as op
from rock_nomad.cli.options import connect
from rock_nomad.cli.output import Format, FormatOption, out, print_json, say
from rock_nomad.requestfile import load_request_file

__all__ = ["COMMANDS"]

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A request file.")]


async def render(file: _File) -> None:
    """Print the Nomad job that a request becomes; nothing is registered."""
    request = m.CreateSandboxRequest(spec=load_request_file(file).spec)
    print_json((await connect().call(op.RENDER_JOB, request)).job)


async def plan(file: _File, output: FormatOption = Format.TABLE) -> int:
    """Ask Nomad whether a request would fit now; nothing is registered."""
    request = m.CreateSandboxRequest(spec=load_request_file(file).spec)
    answer = await connect().call(op.PLAN_SANDBOX, request)
    if output is Format.JSON:
        print_json(answer)
    else:
        waits = "no node could ever hold it" if answer.impossible else "it would wait"
        out.print("it fits now" if answer.fits else f"{waits}: {answer.message}", markup=False)
        for warning in answer.warnings:
            say(f"note: {warning}")
    return 2 if answer.impossible else 0


COMMANDS = (render, plan)
