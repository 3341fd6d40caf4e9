"""The Nomad device plugin, for nodes with GPUs, real or simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rock.wire.errors import BadRequestRockError
from rock_nomad.cli.output import out, say

__all__ = ["COMMANDS", "install_launcher"]


async def install(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The plugin_dir of the node's Nomad agent.")],
) -> None:
    """Write what Nomad starts into DIR, and print the lines of the agent's configuration that name it."""
    launcher = install_launcher(folder.absolute())
    from rock_nomad.device_plugin.installation import render_block

    say(f"{launcher} is there; put this into the configuration of the node's Nomad agent and start it again:")
    out.print(render_block(launcher.parent), markup=False, end="")


def install_launcher(folder: Path) -> Path:
    """Write what Nomad starts into a folder; returns where it is, named as the plugin is.

    Raises BadRequestRockError: it would not start, or cannot be written.
    """
    try:
        from rock_nomad.device_plugin.installation import NotInstallable, install
    except ModuleNotFoundError as error:  # an extra of the nodes', that a control plane does without
        raise BadRequestRockError(f"{error.name} is not installed: pip install 'rock-nomad[device-plugin]'") from error
    try:
        return install(folder)
    except NotInstallable as error:
        raise BadRequestRockError(str(error)) from error
    except OSError as error:
        raise BadRequestRockError(f"DIR is {str(folder)!r}; it must be one that can be written: {error}") from error


COMMANDS = (install,)
