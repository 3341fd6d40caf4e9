"""The rocklet that runs in any image."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from rock.wire.errors import BadRequestRockError
from rock.wire.sizes import format_size
from rock_nomad.bundle import BUNDLE_MOUNT
from rock_nomad.cli.output import Progress, out

__all__ = ["COMMANDS"]


async def build(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where bundles are kept.")] = Path(BUNDLE_MOUNT),
    *,
    archive: Annotated[bool, typer.Option("--archive", help="Also make a .tar.gz, for nodes without it.")] = False,
) -> None:
    """Make the bundle of this rocklet, unless it is there, and point DIR/current to it: a node's host volume."""
    from rock_nomad.bundle.build import archive_bundle, ensure_bundle, make_current

    with Progress() as progress:
        progress.show("building the bundle (about ten seconds, once)")
        try:
            bundle = await asyncio.to_thread(ensure_bundle, folder, progress.update)
            current = make_current(bundle)
        except OSError as error:
            raise BadRequestRockError(f"{folder} cannot be written: {error}; be root, or name another DIR") from error
        if archive:
            progress.show("packing it")
            packed, digest = await asyncio.to_thread(archive_bundle, bundle)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    out.print(f"{current} -> {bundle.name} ({format_size(size)})", markup=False)
    if archive:
        out.print(f"{packed} sha256:{digest}", markup=False)


COMMANDS = (build,)
