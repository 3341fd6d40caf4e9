from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from rock.errors import DeployFailed

if TYPE_CHECKING:
    from rock._sandbox import Sandbox

__all__ = ["Deploy"]


class Deploy:
    """A local directory's way into a sandbox, and its place there."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._working_dir: str | None = None

    @property
    def working_dir(self) -> str | None:
        """Where the directory that was deployed last is in the sandbox."""
        return self._working_dir

    async def deploy_working_dir(self, local_path: str | os.PathLike[str], target_path: str | None = None) -> str:
        """Upload a local directory, to a new place in /tmp if none is given; its path in the sandbox.

        Raises FileNotFoundError, ValueError: there is no such local path, or it is no directory; DeployFailed, a
        RuntimeError: it did not arrive.
        """
        local = Path(os.path.abspath(local_path))  # noqa: ASYNC240 - reads no disk
        if not await asyncio.to_thread(local.exists):
            raise FileNotFoundError(f"local_path not found: {local}")
        if not await asyncio.to_thread(local.is_dir):
            raise ValueError(f"local_path must be a directory: {local}")
        target = target_path or f"/tmp/rock_workdir_{uuid.uuid4().hex}"  # noqa: S108 - in the sandbox; ROCK's
        uploaded = await self._sandbox.fs.upload_dir(local, target)
        if uploaded.exit_code != 0:
            raise DeployFailed(f"Failed to upload directory: {uploaded.failure_reason}")
        self._working_dir = target
        return target

    def format(self, template: str, **kwargs: str | None) -> str:
        """A text with `${name}` and `<<name>>` replaced where the name is known; `working_dir` is."""
        known = {name: value for name, value in kwargs.items() if value is not None}
        if self._working_dir:
            known["working_dir"] = self._working_dir
        for name in known:
            template = template.replace(f"<<{name}>>", f"${{{name}}}")
        return Template(template).safe_substitute(known)
