"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rock._config import default_base_url, find_gateway
from rock._gateway import Gateway
from rock.wire.errors import InvalidRequest
from rock_nomad.cli.submission import Program
from rock_nomad.requestfile import RequestFile, load_request_file, spec_from_text

__all__ = ["FileArgument", "RequestOptions", "SandboxArgument", "connect", "read_request", "request_files"]

SandboxArgument = Annotated[str, typer.Argument(metavar="SANDBOX", help="A sandbox's id.")]
FileArgument = Annotated[Path | None, typer.Argument(metavar="FILE", help="A request file, or a folder of them.")]


class RequestOptions:
    """The parts of a request that can be written on the command line."""

    Image = Annotated[str | None, typer.Option(help="An image name, such as python:3.11.")]
    Cpus = Annotated[float | None, typer.Option(help="vCPUs.")]
    Memory = Annotated[str | None, typer.Option(help="Such as 512m or 8g.")]
    Disk = Annotated[str | None, typer.Option(help="Such as 1g.")]
    Gpus = Annotated[int | None, typer.Option(help="How many GPUs.")]
    GpuType = Annotated[str | None, typer.Option(help="A GPU model, such as H100.")]
    Isolation = Annotated[str | None, typer.Option(help="runc, gvisor, kata, exec, raw_exec or mock.")]
    Id = Annotated[str | None, typer.Option("--id", help="The sandbox's id; made up if left out.")]
    Env = Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Environment; repeatable.")]


def connect() -> Gateway:
    """The gateway that the environment or the credentials file names."""
    return Gateway(find_gateway(default_base_url()))


def request_files(path: Path) -> list[RequestFile | Program]:
    """A request file or a program, or every one in a folder: requests first, each kind by name.

    Raises InvalidRequest: there is none, or one has a fault.
    """
    files = [path] if not path.is_dir() else [*sorted(path.glob("*.yaml")), *sorted(path.glob("*.py"))]
    if not files:
        raise InvalidRequest(f"{path} holds no request files (*.yaml) and no programs (*.py)")
    return [Program(path=file) if file.suffix == ".py" else load_request_file(file) for file in files]


def read_request(file: Path | None, env: list[str] | None = None, **fields: Any) -> RequestFile:  # noqa: ANN401 - spec fields
    """The request of a file, or of the command line's options.

    Raises InvalidRequest: neither was given, or both, or one has a fault.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if env:
        given["env"] = dict(_pair(each) for each in env)
    if file is None and "image" not in given:
        raise InvalidRequest("name a request file, or an image with --image")
    if file is not None and given:
        raise InvalidRequest(f"{file} says it all: leave out {', '.join(sorted(given))}, or write it in the file")
    if file is not None:
        return load_request_file(file)
    spec = spec_from_text(given, source="command line")
    return RequestFile(path=Path(), name=spec.sandbox_id or "sandbox", spec=spec, steps=[])


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidRequest(f"--env is {text!r}; write NAME=VALUE")
    return name, value
