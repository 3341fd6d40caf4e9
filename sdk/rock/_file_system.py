from __future__ import annotations

import asyncio
import os
import shlex
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rock._requests import ChmodRequest, ChownRequest, Command, RunMode
from rock._responses import BashObservation, ChmodResponse, ChownResponse, DownloadFileResponse
from rock.errors import FileAccess, FileNotFound, InvalidParameterRockException, NotInThisClient

if TYPE_CHECKING:
    from rock._sandbox import Sandbox

__all__ = ["FileSystem", "LinuxFileSystem"]


class FileSystem:
    """A sandbox's files beyond reading and writing one: owners, modes, directories."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def chown(self, request: ChownRequest) -> ChownResponse:
        """Give files to a user and to the group of the same name; what `chown` says if it fails is in the answer."""
        owner = f"{request.remote_user}:{request.remote_user}"
        success, message = await self._change("chown", owner, request.paths, request.recursive)
        return ChownResponse(success=success, message=message)

    async def chmod(self, request: ChmodRequest) -> ChmodResponse:
        """Change the mode of files; what `chmod` says if it fails is in the answer."""
        success, message = await self._change("chmod", request.mode, request.paths, request.recursive)
        return ChmodResponse(success=success, message=message)

    async def _change(self, program: str, to: str, paths: list[str], recursive: bool) -> tuple[bool, str]:
        if not paths:
            raise InvalidParameterRockException(f"paths is empty; name the files to {program}")
        command = [program, *(["-R"] if recursive else []), to, *paths]
        response = await self.sandbox.execute(Command(command=command))
        return response.exit_code == 0, str(response)

    async def upload_dir(
        self, source_dir: str | os.PathLike[str], target_dir: str, extract_timeout: int = 600
    ) -> BashObservation:
        """Put a local directory in the place of the sandbox's `target_dir`, all of whose contents go.

        Exit code 1 with the reason where that cannot be.  Raises what has befallen the sandbox.
        """
        source = await asyncio.to_thread(lambda: Path(source_dir).expanduser().resolve())
        if not await asyncio.to_thread(source.exists):
            return _refused(f"source_dir not found: {source}")
        if not await asyncio.to_thread(source.is_dir):
            return _refused(f"source_dir must be a directory: {source}")
        if not target_dir.startswith("/"):
            return _refused(f"target_dir must be absolute path: {target_dir}")
        if (await self.sandbox.execute(Command(command=["tar", "--version"]))).exit_code != 0:
            return _refused("sandbox has no tar command; cannot extract tarball")
        remote = f"/tmp/rock_upload_{time.time_ns()}.tar.gz"  # noqa: S108 - in the sandbox
        with tempfile.TemporaryDirectory(prefix="rock-upload-") as folder:
            packed = await asyncio.to_thread(_pack, source, Path(folder) / "upload.tar.gz")
            uploaded = await self.sandbox.upload_by_path(packed, remote)
        if not uploaded.success:
            return _refused(f"tar upload failed: {uploaded.message}")
        target = shlex.quote(target_dir)
        unpacked = await self.sandbox.arun(
            f"rm -rf {target} && mkdir -p {target} && tar -xzf {remote} -C {target}",
            mode=RunMode.NOHUP,
            wait_timeout=extract_timeout,
        )
        await self.sandbox.execute(Command(command=["rm", "-f", remote]))
        if unpacked.exit_code != 0:
            return _refused(f"tar extract failed: {unpacked.output or unpacked.failure_reason}")
        return BashObservation(exit_code=0, output=f"uploaded {source} -> {target_dir} via tar")

    async def download_file(self, remote_path: str, local_path: str | os.PathLike[str]) -> DownloadFileResponse:
        """Copy a file of the sandbox to a local path; `success=False` where there is none, or it cannot be read."""
        try:
            return await self.sandbox.download(remote_path, local_path)
        except (FileNotFound, FileAccess) as error:
            return DownloadFileResponse(success=False, message=error.message)

    async def ensure_ossutil(self) -> bool:
        """Not to be had: raises NotInThisClient, for there is no object store."""
        raise NotInThisClient("FileSystem.ensure_ossutil is not in this client: files are downloaded directly")


LinuxFileSystem = FileSystem
"""ROCK's name; there are no other sandboxes than Linux ones."""


def _pack(source: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, arcname=".")
    return archive


def _refused(why: str) -> BashObservation:
    return BashObservation(exit_code=1, failure_reason=why)
