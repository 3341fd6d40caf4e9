"""The Nomad device plugin, for nodes with GPUs, real or simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rock.wire.errors import BadRequestRockError
from rock_nomad.cli.output import out, say

__all__ = ["COMMANDS"]


async def install(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The plugin_dir of the node's Nomad agent.")],
) -> None:
    """Write what Nomad starts into DIR, and print the lines of the agent's configuration that name it."""
    try:
        from rock_nomad.device_plugin.installation import NotInstallable, render_block
        from rock_nomad.device_plugin.installation import install as install_plugin
    except ModuleNotFoundError as error:  # an extra of the node's, that a control plane does without
        raise BadRequestRockError(f"{error.name} is not installed: pip install 'rock-nomad[device-plugin]'") from error
    try:
        launcher = install_plugin(folder.absolute())
    except NotInstallable as error:
        raise BadRequestRockError(str(error)) from error
    except OSError as error:
        raise BadRequestRockError(f"DIR is {str(folder)!r}; it must be one that can be written: {error}") from error
    say(f"{launcher} is there; put this into the configuration of the node's Nomad agent and start it again:")
    out.print(render_block(launcher.parent), markup=False, end="")


COMMANDS = (install,)
