"""Sandbox request files: YAML that says which sandbox, and what to do in it.

::

    name: tests                     # the file's own name, if left out
    sandbox:                        # a SandboxSpec, with sizes as people write them
      image: python:3.11
      memory: 512m
    steps:                          # in one session, in order; the first that fails ends the run
      - upload: project             # a file or folder beside this file
        to: ~/project
      - run: python3 -m pytest
        expect_exit: 1              # 0 if left out
      - download: ~/report.xml
        to: report.xml

Unknown keys are errors that name the key and the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from rock.wire.codec import decode
from rock.wire.errors import InvalidRequest
from rock.wire.sizes import parse_size
from rock.wire.spec import SandboxSpec

__all__ = ["Download", "RequestFile", "Run", "Step", "Upload", "load_request_file", "spec_from_text"]

_SIZES = {"memory": "memory_bytes", "disk": "disk_bytes", "shm": "shm_bytes", "gpu_memory": "gpu_memory_bytes"}
"""Keys whose values are sizes such as 512m, and the spec's fields, in bytes, that they become."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Run(_Strict):
    """A command in the request's session."""

    run: str
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds; None: no limit of its own."""
    expect_exit: int = 0
    """The exit code that counts as success."""


class Upload(_Strict):
    """A file or a folder to the sandbox; a folder replaces nothing but the files it holds."""

    upload: Path
    to: str


class Download(_Strict):
    """A file from the sandbox."""

    download: str
    to: Path


def _kind_of_step(step: Any) -> str:  # noqa: ANN401 - what a YAML file says
    """Which step a mapping is, by the key that names it."""
    if isinstance(step, _Strict):
        return type(step).__name__.lower()
    keys = step.keys() if isinstance(step, dict) else ()
    return next((kind for kind in ("run", "upload", "download") if kind in keys), "run")


Step = Annotated[
    Annotated[Run, Tag("run")] | Annotated[Upload, Tag("upload")] | Annotated[Download, Tag("download")],
    Discriminator(_kind_of_step),
]


class _Document(_Strict):
    name: str | None = None
    sandbox: dict[str, Any] = Field(default_factory=dict)
    steps: list[Step] = Field(default_factory=list)


class RequestFile(_Strict):
    """A request file, read and checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    path: Path
    name: str
    spec: SandboxSpec
    steps: list[Step]

    def local(self, path: Path) -> Path:
        """A path that the file names, beside the file."""
        return self.path.parent / path


def load_request_file(path: Path) -> RequestFile:
    """Read and check a request file.

    Raises InvalidRequest, naming the file and the key: fix it there.
    """
    try:
        document = _Document.model_validate(yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        remedy = "name a request file, such as those in jobspecs/examples"
        raise InvalidRequest(f"{path}: {error.strerror}; {remedy}") from error
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(
            f"{path}: {key or 'the file'}: {first['msg']}", details={"field": key, "value": repr(first["input"])[:80]}
        ) from error
    return RequestFile(
        path=path,
        name=document.name or path.stem,
        spec=spec_from_text(document.sandbox, source=str(path)),
        steps=document.steps,
    )


def spec_from_text(fields: dict[str, Any], *, source: str) -> SandboxSpec:
    """A spec whose sizes may be written as people do.

    Raises InvalidRequest, naming the source and the key.
    """
    spec: dict[str, Any] = {}
    for key, value in fields.items():
        if key in _SIZES:
            spec[_SIZES[key]] = _size(key, value, source)
        else:
            spec[key] = value
    try:
        return decode(SandboxSpec, msgspec.json.encode(spec))
    except InvalidRequest as error:
        raise InvalidRequest(f"{source}: sandbox: {error.message}", details=error.details) from error


def _size(key: str, value: Any, source: str) -> int:  # noqa: ANN401 - what a YAML file says
    try:
        return parse_size(value if isinstance(value, (str, int)) else str(value))
    except ValueError as error:
        details = {"field": key, "value": repr(value)[:80], "expected": "a size such as 512m or 8g"}
        raise InvalidRequest(f"{source}: sandbox.{key}: {error}", details=details) from error
