"""Who listens on a port of this machine: an address that is taken should say by whom."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

__all__ = ["is_free", "listener_of"]

_LISTEN = "0A"
"""The state column of /proc/net/tcp.  Source: include/net/tcp_states.h of the Linux kernel."""


def is_free(host: str, port: int) -> bool:
    """Whether one could listen there now; port 0 always is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def listener_of(port: int) -> str | None:
    """The process that listens on a port, as `python3 server.py (process 4711)`; None if it cannot be seen."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        if any(link in inodes for link in _open_files(process)):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            return f"{command or 'a kernel thread'} (process {process.name})"
    return None


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), Path(table).open() as lines:
            for columns in (line.split() for line in lines):
                if columns[3:4] == [_LISTEN] and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.append(columns[9])
    return inodes


def _open_files(process: Path) -> list[str]:
    links = []
    with contextlib.suppress(OSError):  # it ended, or is another user's
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(descriptor))
    return links
