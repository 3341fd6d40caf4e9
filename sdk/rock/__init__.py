"""rock: sandboxes and environments for agentic reinforcement learning.

    from rock import Sandbox, SandboxConfig

    async with Sandbox(SandboxConfig(image="python:3.11")) as sandbox:
        print((await sandbox.arun("echo hi")).output)

Names are imported when they are first used, so that `import rock` costs a trainer next to nothing.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from rock._absent import AbsentPaths

if TYPE_CHECKING:
    from rock._commands import OutputPiece, RunningCommand
    from rock._envs import RockEnv, make
    from rock._group import SandboxGroup
    from rock._requests import (
        BashAction,
        CloseBashSessionRequest,
        Command,
        CreateBashSessionRequest,
        ReadFileRequest,
        RunMode,
        UploadMode,
        UploadRequest,
        WriteFileRequest,
    )
    from rock._responses import (
        BashObservation,
        CommandResponse,
        CreateBashSessionResponse,
        DownloadFileResponse,
        IsAliveResponse,
        Observation,
        ReadFileResponse,
        SandboxStatusResponse,
        State,
        UploadResponse,
        WriteFileResponse,
    )
    from rock._sandbox import Sandbox
    from rock._sandbox_config import SandboxConfig, SandboxGroupConfig
    from rock._sync import SyncSandbox
    from rock.errors import (
        BadRequestRockError,
        CommandRockError,
        InternalServerRockError,
        RockException,
        raise_for_code,
    )
    from rock.wire.codes import codes

__all__ = [
    "BadRequestRockError",
    "BashAction",
    "BashObservation",
    "CloseBashSessionRequest",
    "Command",
    "CommandResponse",
    "CommandRockError",
    "CreateBashSessionRequest",
    "CreateBashSessionResponse",
    "DownloadFileResponse",
    "InternalServerRockError",
    "IsAliveResponse",
    "Observation",
    "OutputPiece",
    "ReadFileRequest",
    "ReadFileResponse",
    "RockEnv",
    "RockException",
    "RunMode",
    "RunningCommand",
    "Sandbox",
    "SandboxConfig",
    "SandboxGroup",
    "SandboxGroupConfig",
    "SandboxStatusResponse",
    "State",
    "SyncSandbox",
    "UploadMode",
    "UploadRequest",
    "UploadResponse",
    "WriteFileRequest",
    "WriteFileResponse",
    "codes",
    "make",
    "raise_for_code",
]

_HOMES = {
    "rock._commands": "OutputPiece RunningCommand",
    "rock._envs": "RockEnv make",
    "rock._group": "SandboxGroup",
    "rock._requests": (
        "BashAction CloseBashSessionRequest Command CreateBashSessionRequest ReadFileRequest RunMode UploadMode "
        "UploadRequest WriteFileRequest"
    ),
    "rock._responses": (
        "BashObservation CommandResponse CreateBashSessionResponse DownloadFileResponse IsAliveResponse Observation "
        "ReadFileResponse SandboxStatusResponse State UploadResponse WriteFileResponse"
    ),
    "rock._sandbox": "Sandbox",
    "rock._sandbox_config": "SandboxConfig SandboxGroupConfig",
    "rock._sync": "SyncSandbox",
    "rock.errors": "BadRequestRockError CommandRockError InternalServerRockError RockException raise_for_code",
    "rock.wire.codes": "codes",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

if os.path.isdir(os.path.join(__path__[0], "admin")):  # ours has no such folder, rl-rock's has
    raise ImportError(
        f"{__path__[0]} holds files of both rock-nomad and rl-rock, which cannot share an environment; run: "
        "pip uninstall -y rl-rock rock-nomad && pip install rock-nomad"
    )

# ROCK's modules that are not there yet.  At the end: what is there is found first.
sys.meta_path.append(AbsentPaths)
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
