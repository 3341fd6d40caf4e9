"""What Nomad's `plugin_dir` needs: a file to start, and the block that names it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from rock_nomad.device_plugin.plugin import NAME

__all__ = ["NotInstallable", "install", "render_block"]

_MAX_SHEBANG = 127  # bytes of the first line that every kernel reads

# -I: the agent's whole environment is handed down, PYTHON* variables included.
_LAUNCHER = """#!{python} -I
# Written by `rock-nomad device-plugin install`; Nomad's agent starts it.
from rock_nomad.device_plugin.process import main

main()
"""

_BLOCK = """plugin_dir = {folder}

plugin "{name}" {{
  config {{
    # simulate = "NVIDIA H100 80GB HBM3:2,NVIDIA A10G:1"
  }}
}}
"""


class NotInstallable(Exception):
    """The launcher would not start; the message says why and what to do."""


def install(folder: Path, python: str = sys.executable) -> Path:
    """Write the launcher, whole at once so that a running agent never meets half of it; returns where it is.

    Raises NotInstallable; OSError: the folder cannot be written.
    """
    if re.search(r"\s", python) or len(f"#!{python} -I") > _MAX_SHEBANG:
        raise NotInstallable(
            f"a file that begins with {python} cannot be started: its path must have no spaces and at most "
            f"{_MAX_SHEBANG - len('#! -I')} characters; install rock-nomad elsewhere"
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{NAME}.partial"
    partial.write_text(_LAUNCHER.format(python=python))
    partial.chmod(0o755)
    launcher = folder / NAME
    os.replace(partial, launcher)
    return launcher


def render_block(folder: Path) -> str:
    """What stands in the agent's configuration, in HCL."""
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return _BLOCK.format(folder=f'"{quoted}"', name=NAME)
