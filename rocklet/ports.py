"""Which ports may be forwarded to: those of this sandbox, and never the rocklet's own or another's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from rock.wire.errors import Forbidden, InvalidRequest, PortClosed
from rocklet.config import Settings
from rocklet.processes import descendants

__all__ = ["Ports"]

_FIRST = 1024
"""Below are the system's, which are forwarded to only if the sandbox's request names them."""
_LISTEN = "0A"
"""The state column of /proc/net/tcp.  Source: include/net/tcp_states.h of the Linux kernel."""
_ANY_V6 = "0" * 32
_HEARD_AT = {
    "127.0.0.1": {"00000000", "0100007F", _ANY_V6, "0000000000000000FFFF00000100007F"},
    "::1": {_ANY_V6, "00000000000000000000000001000000"},
}
"""Loopback addresses, and as what /proc/net/tcp names listeners that may hear a connection to each."""


class Ports:
    """The ports of one sandbox.  All of it blocks, for milliseconds."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = frozenset(settings.ports)
        self._own_port = settings.port
        self._shares_network = settings.shares_network

    def locate(self, text: str) -> tuple[int, list[str]]:
        """The port that a caller names, and where on loopback the sandbox's server may be, the likeliest first.

        Raises InvalidRequest: no port; Forbidden: not one of this sandbox's; PortClosed: nobody listens.
        """
        port = _parse(text)
        if port == self._own_port or not self._is_allowed(port):
            raise Forbidden(
                f"port {port} is not forwarded; {self._describe()}",
                details={"field": "port", "value": port, "expected": self._describe()},
            )
        return port, self._find_own(port) if self._shares_network else list(_HEARD_AT)

    def _is_allowed(self, port: int) -> bool:
        return port in self._allowed if self._allowed else port >= _FIRST

    def _describe(self) -> str:
        if self._allowed:
            return f"the sandbox's request names {', '.join(map(str, sorted(self._allowed)))}"
        return f"without `ports` in the sandbox's request these are {_FIRST} to 65535, but for the rocklet's own"

    def _find_own(self, port: int) -> list[str]:
        """Where processes of this sandbox listen.  The network is the machine's: others listen there too."""
        listeners = list(_read_listeners(port))
        if not listeners:
            raise PortClosed(f"nobody listens on port {port}; start a server there first", details={"port": port})
        own = _own_sockets()
        found = []
        for address, heard_as in _HEARD_AT.items():
            sockets = {inode for local, inode in listeners if local in heard_as}
            if sockets and sockets <= own:
                found.append(address)
        if not found:
            raise Forbidden(
                f"port {port} is not this sandbox's: a process that is not listens there, or not on loopback; "
                "let the sandbox's server listen on 127.0.0.1 and another port",
                details={"field": "port", "value": port, "expected": "a port on which the sandbox listens"},
            )
        return found


def _parse(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535:
        return int(text)
    raise InvalidRequest(
        f"port is {text[:80]!r}; it must be a number from 1 to 65535",
        details={"field": "port", "value": text[:80], "expected": "1 to 65535"},
    )


def _read_listeners(port: int) -> Iterator[tuple[str, str]]:
    """The local address, as the kernel writes it, and the socket's inode of everything that listens on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table) as lines:
            for columns in (line.split() for line in lines):
                if columns[3:4] == [_LISTEN]:
                    address, _, number = columns[1].rpartition(":")
                    if int(number, 16) == port:
                        yield address, columns[9]


def _own_sockets() -> set[str]:
    """The inodes of the sockets that this sandbox's processes hold: those below the rocklet, without itself."""
    found = set()
    for pid in descendants(os.getpid()):
        folder = f"/proc/{pid}/fd"
        with contextlib.suppress(OSError):  # it has ended
            for descriptor in os.listdir(folder):
                with contextlib.suppress(OSError):
                    kind, _, inode = os.readlink(f"{folder}/{descriptor}").partition(":")
                    if kind == "socket":
                        found.add(inode.strip("[]"))
    return found
